/**
 * A stream from TypeScript: it speaks a tone, interrupts itself, and says what was seen and heard.
 *
 *   npx tsc --module nodenext --target es2022 stream.ts && node stream.js http://127.0.0.1:8000
 *
 * Node before 22 has a WebSocket with `node --experimental-websocket`, or `openSocket` makes one of another package.
 */

import { audioSamples, connect, KIND, StreamError } from "rollcast-client";
import type { Speech } from "rollcast-client/messages";

declare const process: { argv: string[]; exitCode: number };

const RATE = 24_000;
const LOUD = 1_000;

/** So many seconds of a tone. */
function tone(seconds: number, hz = 440): Int16Array {
  return Int16Array.from({ length: RATE * seconds }, (_, k) => 9_000 * Math.sin((2 * Math.PI * hz * k) / RATE));
}

async function main(url: string): Promise<void> {
  const told: Speech[] = [];
  const stream = await connect(url, {
    codecs: ["jpeg"], // whatever is decoded here; a page takes "h264" and WebCodecs
    wish: { audio_rate: RATE },
    onMessage: (message) => {
      if (message.type === "speech") told.push(message);
    },
  });
  await stream.beginAudio("greeting");
  const speech = tone(8);
  for (let begin = 0; begin < speech.length; begin += RATE / 10) {
    // false: the network does not keep up
    while (!stream.feed(speech.subarray(begin, begin + RATE / 10))) await new Promise((go) => setTimeout(go, 20));
  }
  await stream.endAudio();

  let frames = 0;
  let loud = 0;
  let heardMs: number | null = null;
  for await (const packet of stream) {
    if (packet.kind === KIND.video) frames += 1;
    else loud += audioSamples(packet).filter((sample) => Math.abs(sample) > LOUD).length;
    if (loud > (stream.ready.sample_rate ?? 0) && heardMs === null) {
      heardMs = -1; // it is under way, and packets are read meanwhile
      void stream.clearAudio().then((applied) => {
        heardMs = applied.played_ms ?? 0;
        stream.close();
      });
    }
  }
  console.log(JSON.stringify({ model: stream.ready.model, frames, loud, heardMs, told }));
}

try {
  await main(process.argv[2] ?? "http://127.0.0.1:8000");
} catch (error) {
  if (!(error instanceof StreamError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
}

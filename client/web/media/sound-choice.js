/**
 * How sound goes over the network, both ways: as it is, or as Opus with an eighth of the bits.
 *
 * PCM is the usual: nothing is lost and nothing delayed. Opus is for slow or paid networks.
 */

/**
 * @import { AudioCodec } from "../net/messages.js"
 * @import { SoundCodecs } from "../net/connection.js"
 *
 * @typedef {{decode: boolean, encode: boolean}} OpusSupport
 * @typedef {{saveData: boolean, slow: boolean}} Network  as far as the browser knows it
 */

export const OPUS_RATE = 48_000;
/** Where the sound's quarter of a megabit, both ways, is better left to the picture: as browsers class networks. */
const SLOW = new Set(["slow-2g", "2g", "3g"]);
/** Of this machine a browser may say anything, since it has measured nothing. */
const THIS_MACHINE = /^(localhost|127\..*|\[::1\])$/;

/** @type {AudioEncoderConfig} of the voice that is sent, at the rate that the page records */
export const VOICE_CONFIG = Object.freeze({
  codec: "opus", sampleRate: 16_000, numberOfChannels: 1, bitrate: 32_000, opus: { frameDuration: 20_000 },
});
/** @type {AudioDecoderConfig} */
export const HEARD_CONFIG = Object.freeze({ codec: "opus", sampleRate: OPUS_RATE, numberOfChannels: 1 });

/** @returns {Promise<OpusSupport>} both false where there is no WebCodecs, as on insecure origins */
export async function opusSupport() {
  const [decode, encode] = await Promise.all([
    supported("AudioDecoder", () => AudioDecoder.isConfigSupported(HEARD_CONFIG)),
    supported("AudioEncoder", () => AudioEncoder.isConfigSupported(VOICE_CONFIG)),
  ]);
  return { decode, encode };
}

/**
 * @param {AudioCodec | null} wanted  by the user
 * @param {OpusSupport} opus
 * @param {Network} network
 * @returns {SoundCodecs}
 */
export function soundCodecs(wanted, opus, { saveData, slow }) {
  const wish = wanted ?? (saveData || slow ? "opus" : "pcm");
  return {
    take: wish === "opus" && opus.decode ? ["opus", "pcm"] : ["pcm"],
    send: wish === "opus" && opus.encode ? "opus" : "pcm",
  };
}

/**
 * @param {Navigator & {connection?: {saveData?: boolean, effectiveType?: string}}} navigator
 * @param {string} host  where the server is
 * @returns {Network}
 */
export function networkOf({ connection }, host) {
  const slow = SLOW.has(connection?.effectiveType ?? "") && !THIS_MACHINE.test(host);
  return { saveData: connection?.saveData ?? false, slow };
}

/** A browser that cannot even say so cannot do it. @param {string} name @param {() => Promise<{supported?: boolean}>} ask */
async function supported(name, ask) {
  if (!(name in globalThis)) return false;
  return ask().then((answer) => answer.supported === true, () => false);
}

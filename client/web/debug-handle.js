/**
 * `window.rollcast`: what the page knows, for browser tests and for support.
 *
 * It only reads. `snapshot()` is plain data that can go into a bug report; it holds no token.
 */

/** @import { App } from "./app.js" */

/** @param {App} app */
function snapshot(app) {
  const { connection, playback, session, speech, tracks } = app;
  const { audioOut, figures, player, serverClock } = playback;
  const { state, label } = app.status();
  return {
    status: { state, label },
    connection: { ...connection.state },
    session: session && { ...session, resume_token: undefined },
    watching: { only: app.watches, viewers: app.view.viewers },
    stream: { ...app.stream },
    player: {
      shown: player.shown, received: player.received, dropped: player.dropped, depth: player.depth,
      lastSeq: player.lastSeq, lastChunk: player.lastChunk, generation: player.generation,
      stalls: player.clock.stalls, playheadUs: playback.playheadUs(),
    },
    figures: figures.read(app.nowMs()),
    serverClock: serverClock.best(),
    speech: {
      talking: speech.talking, problem: speech.problem, level: speech.level, sound: speech.sound,
      lost: app.voice.lost, file: speech.fileName, heardUs: audioOut.positionUs(),
    },
    camera: app.view.camera.keys.motion,
    webcam: {
      on: app.view.webcam.on, problem: app.view.webcam.problem, sent: app.view.webcam.sender.sent,
      lost: app.view.webcam.sender.lost,
    },
    sound: {
      heardAs: session?.audio_codec ?? null, sentAs: connection.voiceCodec,
      failures: playback.soundDecoder?.failures ?? 0,
    },
    tracks: { held: tracks.held.length, anchors: tracks.anchors.length },
    codecs: [...app.codecs],
    transport: playback.peer.element === null ? "websocket" : "webrtc",
    recording: app.tools.recorder.on,
  };
}

/** @param {App} app */
export function exposeForSupport(app) {
  Object.defineProperty(window, "rollcast", {
    value: Object.freeze({
      snapshot: () => snapshot(app),
      /** What plays the sound of a WebRTC peer, or null. */
      peerElement: () => app.playback.peer.element,
      /** The frame on screen: {width, height, seq, rgba}. */
      readFrame: () => {
        const { width, height, data } = app.stage.readFrame();
        return { width, height, seq: app.playback.player.lastSeq, rgba: data };
      },
    }),
  });
}

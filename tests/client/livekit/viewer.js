// A person who watches a room with LiveKit's own SDK for browsers, in the page that `viewer.py` opens.
// What is seen and heard is written down by the clock of the machine.
const seen = { frames: [], sound: [], kinds: [], dropped: 0 };
const LOUD_DB = -55;

/** The frame's number, as the test pattern shows it. */
function numberOf(pixels, width, height) {
  let number = 0;
  for (let bit = 0; bit < 16; bit++) {
    const x = Math.floor(width / 32 + (bit * width) / 16);
    number = 2 * number + (pixels[4 * (Math.floor(height / 32) * width + x)] > 127 ? 1 : 0);
  }
  return number;
}

function watchPicture(track) {
  const video = document.createElement("video");
  video.muted = true;
  document.body.append(video);
  track.attach(video);
  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const drawn = (_, frame) => {
    canvas.width = frame.width;
    canvas.height = frame.height;
    context.drawImage(video, 0, 0);
    const { data } = context.getImageData(0, 0, frame.width, frame.height);
    seen.frames.push([Date.now() / 1000, numberOf(data, frame.width, frame.height)]);
    video.requestVideoFrameCallback(drawn);
  };
  video.requestVideoFrameCallback(drawn);
}

function watchSound(track) {
  track.attach(document.body.appendChild(document.createElement("audio")));
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 2048, smoothingTimeConstant: 0 });
  context.createMediaStreamSource(new MediaStream([track.mediaStreamTrack])).connect(analyser);
  const levels = new Float32Array(analyser.frequencyBinCount);
  setInterval(() => {
    analyser.getFloatFrequencyData(levels);
    const peak = levels.indexOf(Math.max(...levels));
    const hz = levels[peak] > LOUD_DB ? (peak * context.sampleRate) / analyser.fftSize : 0;
    seen.sound.push([Date.now() / 1000, hz]);
  }, 10);
}

async function join(url, token) {
  const room = new LivekitClient.Room();
  room.on(LivekitClient.RoomEvent.TrackSubscribed, (track) => {
    seen.kinds.push(track.kind);
    if (track.kind === "video") watchPicture(track);
    else watchSound(track);
  });
  await room.connect(url, token);
}

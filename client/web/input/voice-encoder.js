/** 16 kHz PCM16 as Opus packets of 20 ms, by the browser's encoder. */

/** @typedef {{encode: (samples: Int16Array) => void, flush: () => Promise<void>}} VoiceEncoder */

/**
 * @param {AudioEncoderConfig} config
 * @param {(payload: Uint8Array<ArrayBuffer>) => void} onPacket
 * @returns {VoiceEncoder}
 */
export function openVoiceEncoder(config, onPacket) {
  let atUs = 0;
  /** @type {AudioEncoder | null} */
  let encoder = null;
  const open = () => {
    const opened = new AudioEncoder({
      output: (chunk) => {
        const payload = new Uint8Array(chunk.byteLength);
        chunk.copyTo(payload);
        onPacket(payload);
      },
      error: () => { // it is closed by that; what is said next begins anew
        encoder = null;
      },
    });
    opened.configure(config);
    return opened;
  };
  return {
    encode(samples) {
      encoder ??= open();
      const data = new AudioData({
        format: "s16", sampleRate: config.sampleRate, numberOfChannels: 1, numberOfFrames: samples.length,
        timestamp: atUs, data: samples.slice(),
      });
      atUs += (samples.length * 1e6) / config.sampleRate;
      encoder.encode(data);
      data.close();
    },
    async flush() {
      const flushed = encoder;
      encoder = null;
      await flushed?.flush().catch(() => {});
      if (flushed?.state === "configured") flushed.close();
    },
  };
}

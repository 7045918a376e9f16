/** Which codecs this browser can decode with low delay, best first. */

/** @import { Codec } from "../net/messages.js" */

/** @type {[Codec, string][]} */
const PROBES = [["h264", "avc1.42E01F"], ["vp8", "vp8"]];

const PATIENCE_MS = 2_000;

/** Limited-range BT.601: what the server sends. libvpx cannot tag it, so it is always stated. */
export const COLOUR = Object.freeze({
  matrix: /** @type {const} */ ("smpte170m"),
  primaries: /** @type {const} */ ("smpte170m"),
  transfer: /** @type {const} */ ("smpte170m"),
  fullRange: false,
});

/**
 * JPEG is always there: it needs no WebCodecs, which browsers give to secure origins only.
 *
 * @param {number} [patienceMs]  for a browser that does not answer at all
 * @returns {Promise<Codec[]>}
 */
export async function supportedCodecs(patienceMs = PATIENCE_MS) {
  /** @type {Codec[]} */
  const codecs = [];
  if ("VideoDecoder" in globalThis) {
    for (const [name, codec] of PROBES) {
      if (await canDecode(codec, patienceMs)) codecs.push(name);
    }
  }
  return [...codecs, "jpeg"];
}

/** A browser that cannot even say so cannot decode it. @param {string} codec @param {number} patienceMs */
async function canDecode(codec, patienceMs) {
  try {
    const asked = VideoDecoder.isConfigSupported({ codec, optimizeForLatency: true, colorSpace: COLOUR });
    const silence = new Promise((resolve) => setTimeout(resolve, patienceMs));
    const answer = await Promise.race([asked, silence]);
    return answer?.supported === true;
  } catch {
    return false;
  }
}

/**
 * The codec string of an H.264 Annex B key frame, from its sequence parameter set; it changes with
 * the picture size, so it is read and not assumed. Null when there is no parameter set.
 *
 * @param {Uint8Array} bytes
 * @returns {string | null}
 */
export function h264CodecString(bytes) {
  for (let at = 0; at + 6 < bytes.length; at += 1) {
    const startCode = bytes[at] === 0 && bytes[at + 1] === 0 && bytes[at + 2] === 1;
    if (startCode && (bytes[at + 3] & 31) === 7) {
      return "avc1." + [...bytes.subarray(at + 4, at + 7)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    }
  }
  return null;
}

/**
 * Small convolutional networks, computed in plain JavaScript: no WebAssembly, nothing from elsewhere.
 *
 * The file is what the server reads too (models/face/networks.py): float16 weights and, as its
 * metadata, the operations of each network. Tensors are [height, width, channels].
 *
 * @typedef {{height: number, width: number, channels: number, values: Float32Array}} Tensor
 * @typedef {object} Step
 * @property {string} kind
 * @property {number[]} in
 * @property {number} out
 * @property {string} weight
 * @property {string} bias
 * @property {string} slope
 * @property {number} stride
 * @property {number[]} pad  top, bottom, left, right
 * @property {number} size
 * @property {number} channels
 * @property {number} columns
 * @property {boolean} relu
 * @typedef {{side: number, input: number, steps: Step[], outputs: number[]}} Graph
 * @typedef {Map<string, {shape: number[], values: Float32Array}>} Weights
 * @typedef {(weights: Weights, step: Step, inputs: Tensor[]) => Tensor} Operation
 */

export class Network {
  /** @param {Graph} graph @param {Weights} weights */
  constructor(graph, weights) {
    this.side = graph.side;
    this._graph = graph;
    this._weights = weights;
  }

  /** @param {Float32Array} picture  [side, side, 3] @returns {Float32Array[]} */
  run(picture) {
    const { side, input, steps, outputs } = this._graph;
    /** @type {Map<number, Tensor>} */
    const known = new Map([[input, { height: side, width: side, channels: 3, values: picture }]]);
    for (const step of steps) {
      const inputs = step.in.map((tensor) => /** @type {Tensor} */ (known.get(tensor)));
      known.set(step.out, OPERATIONS[step.kind](this._weights, step, inputs));
    }
    return outputs.map((tensor) => /** @type {Tensor} */ (known.get(tensor)).values);
  }
}

/** @param {ArrayBuffer} file  safetensors @returns {Record<string, Network>} by name */
export function readNetworks(file) {
  const length = Number(new DataView(file).getBigUint64(0, true));
  /** @type {Record<string, {shape: number[], data_offsets: [number, number]}> & {__metadata__: Record<string, string>}} */
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, length)));
  const { __metadata__: texts, ...tensors } = header;
  /** @type {Weights} */
  const weights = new Map();
  for (const [name, { shape, data_offsets: [start, end] }] of Object.entries(tensors)) {
    weights.set(name, { shape, values: halves(file.slice(8 + length + start, 8 + length + end)) });
  }
  const graphs = Object.entries(texts).filter(([, text]) => text.startsWith("{"));
  return Object.fromEntries(graphs.map(([name, text]) => [name, new Network(JSON.parse(text), weights)]));
}

/** float16 as float32: not every browser has an array of them. @param {ArrayBuffer} bytes */
function halves(bytes) {
  return Float32Array.from(new Uint16Array(bytes), (bits) => {
    const sign = bits >> 15 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = (bits & 1023) / 1024;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction);
  });
}

/** @param {Tensor} x @param {number[]} pad @param {number} [more]  channels of zeros @returns {Tensor} */
function padded(x, [top, bottom, left, right], more = 0) {
  if (!(top || bottom || left || right || more)) return x;
  const height = x.height + top + bottom;
  const width = x.width + left + right;
  const channels = x.channels + more;
  const values = new Float32Array(height * width * channels);
  for (let row = 0; row < x.height; row += 1) {
    for (let column = 0; column < x.width; column += 1) {
      const from = (row * x.width + column) * x.channels;
      values.set(x.values.subarray(from, from + x.channels), ((row + top) * width + column + left) * channels);
    }
  }
  return { height, width, channels, values };
}

/** Height and width of what a window of `size` makes of `x`. @param {Tensor} x @param {number} size @param {Step} step */
function fewer(x, size, { stride }) {
  return { height: Math.floor((x.height - size) / stride) + 1, width: Math.floor((x.width - size) / stride) + 1 };
}

/** @param {Weights} weights @param {string} name */
function named(weights, name) {
  const found = weights.get(name);
  if (!found) throw new Error(`the file of networks lacks ${name}`);
  return found;
}

/** @param {Float32Array} values @param {boolean} relu */
function bent(values, relu) {
  if (relu) for (let k = 0; k < values.length; k += 1) if (values[k] < 0) values[k] = 0;
  return values;
}

/** @type {Operation} */
function conv(weights, step, [input]) {
  const { shape: [size, , , channels], values: kernel } = named(weights, step.weight);
  const bias = named(weights, step.bias).values;
  const x = padded(input, step.pad);
  const { height, width } = fewer(x, size, step);
  const values = new Float32Array(height * width * channels);
  for (let at = 0; at < height * width; at += 1) {
    const to = at * channels;
    const row = Math.floor(at / width) * step.stride;
    const column = (at % width) * step.stride;
    for (let c = 0; c < channels; c += 1) values[to + c] = bias[c];
    for (let k = 0; k < size * size; k += 1) {
      const from = ((row + Math.floor(k / size)) * x.width + column + (k % size)) * x.channels;
      for (let i = 0; i < x.channels; i += 1) {
        const value = x.values[from + i];
        const weight = (k * x.channels + i) * channels;
        for (let c = 0; c < channels; c += 1) values[to + c] += value * kernel[weight + c];
      }
    }
  }
  return { height, width, channels, values: bent(values, step.relu) };
}

/** @type {Operation} */
function depthwise(weights, step, [input]) {
  const { shape: [size], values: kernel } = named(weights, step.weight);
  const bias = named(weights, step.bias).values;
  const x = padded(input, step.pad);
  const { channels } = x;
  const { height, width } = fewer(x, size, step);
  const values = new Float32Array(height * width * channels);
  for (let at = 0; at < height * width; at += 1) {
    const to = at * channels;
    const row = Math.floor(at / width) * step.stride;
    const column = (at % width) * step.stride;
    for (let c = 0; c < channels; c += 1) values[to + c] = bias[c];
    for (let k = 0; k < size * size; k += 1) {
      const from = ((row + Math.floor(k / size)) * x.width + column + (k % size)) * channels;
      for (let c = 0; c < channels; c += 1) values[to + c] += x.values[from + c] * kernel[k * channels + c];
    }
  }
  return { height, width, channels, values: bent(values, step.relu) };
}

/** @type {Operation} */
function maxpool(_, step, [input]) {
  const x = padded(input, step.pad);
  const { channels } = x;
  const { height, width } = fewer(x, step.size, step);
  const values = new Float32Array(height * width * channels).fill(-Infinity);
  for (let at = 0; at < height * width; at += 1) {
    const row = Math.floor(at / width) * step.stride;
    const column = (at % width) * step.stride;
    for (let k = 0; k < step.size ** 2; k += 1) {
      const from = ((row + Math.floor(k / step.size)) * x.width + column + (k % step.size)) * channels;
      for (let c = 0; c < channels; c += 1) {
        values[at * channels + c] = Math.max(values[at * channels + c], x.values[from + c]);
      }
    }
  }
  return { height, width, channels, values };
}

/** @type {Record<string, Operation>} */
const OPERATIONS = {
  conv,
  depthwise,
  maxpool,
  prelu: (weights, { slope }, [x]) => {
    const slopes = named(weights, slope).values;
    return { ...x, values: x.values.map((value, k) => (value > 0 ? value : value * slopes[k % x.channels])) };
  },
  add: (_, { relu }, [x, y]) => ({ ...x, values: bent(x.values.map((value, k) => value + y.values[k]), relu) }),
  pad: (_, { pad, channels }, [x]) => padded(x, pad, channels),
  relu: (_, _step, [x]) => ({ ...x, values: bent(x.values.slice(), true) }),
  reshape: (_, { columns }, [x]) => ({ height: 1, width: x.values.length / columns, channels: columns, values: x.values }),
  concatenation: (_, _step, parts) => {
    const values = new Float32Array(parts.reduce((sum, part) => sum + part.values.length, 0));
    parts.reduce((at, part) => (values.set(part.values, at), at + part.values.length), 0);
    return { height: 1, width: values.length / parts[0].channels, channels: parts[0].channels, values };
  },
};

/** What the page's tests use in place of a network, a clock and a browser's storage. */

/** Timers and a clock that move only when told to. */
export class FakeTime {
  constructor() {
    this.nowMs = 0;
    this._next = 1;
    this._timers = new Map();
  }

  now = () => this.nowMs;

  setTimer = (callback, delayMs) => {
    const id = this._next++;
    this._timers.set(id, { atMs: this.nowMs + delayMs, callback });
    return id;
  };

  clearTimer = (id) => this._timers.delete(id);

  advance(ms) {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const due = [...this._timers].filter(([, timer]) => timer.atMs <= untilMs).sort((a, b) => a[1].atMs - b[1].atMs)[0];
      if (!due) break;
      this._timers.delete(due[0]);
      this.nowMs = due[1].atMs;
      due[1].callback();
    }
    this.nowMs = untilMs;
  }
}

/** The browser's side of a socket, with hands on the server's side. */
export class FakeSocket {
  constructor() {
    this.readyState = 0;
    this.bufferedAmount = 0;
    this.sent = [];
    this.closed = false;
  }

  send(data) {
    this.sent.push(typeof data === "string" ? JSON.parse(data) : data);
  }

  close() {
    this.closed = true;
    this.readyState = 3;
  }

  open() {
    this.readyState = 1;
    this.onopen();
  }

  say(message) {
    this.onmessage({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  sendBinary(buffer) {
    this.onmessage({ data: buffer });
  }

  drop(code = 1006) {
    this.readyState = 3;
    this.onclose({ code });
  }

  last(type) {
    return this.sent.findLast((message) => message.type === type);
  }
}

export class FakeStorage {
  constructor() {
    this.items = new Map();
  }

  getItem(key) {
    return this.items.get(key) ?? null;
  }

  setItem(key, value) {
    this.items.set(key, String(value));
  }

  removeItem(key) {
    this.items.delete(key);
  }
}

/** A picture that knows whether it was given back. */
export class FakePicture {
  constructor(packet) {
    this.seq = packet.seq;
    this.closed = 0;
  }

  close() {
    this.closed += 1;
  }
}

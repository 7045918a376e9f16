/** The JSON messages of protocol version 1. Made by server/protocol/generate.py from the server's messages; do not edit. */

export type Codec = "h264" | "vp8" | "jpeg";

export type Phase = "down" | "move" | "up" | "anchor";

/** First message on a socket: what the client speaks and can decode, best codec first. */
export interface ClientHello {
  type: "hello";
  versions: number[];
  client?: string;
  codecs: string[];
  audio?: boolean;
  token?: string | null;
}

/** Open a new stream; what is left out is the server's choice. `picture`, base64 of a JPEG, PNG or WebP file, is shown unless `scene` asks for another. `audio_rate` is that of the audio that the client will send, in samples per second. */
export interface SessionCreate {
  type: "session.create";
  model?: string | null;
  scene?: string | null;
  picture?: string | null;
  prompt?: string | null;
  seed?: number | null;
  max_kbps?: number | null;
  audio_rate?: number | null;
}

/** Go on with a stream whose socket was lost; `last_seq` is the last video seq shown or -1. */
export interface SessionResume {
  type: "session.resume";
  session_id: string;
  resume_token: string;
  last_seq: number;
}

/** End the stream and free it at once. */
export interface SessionClose {
  type: "session.close";
}

/** Change the text prompt, blending over `transition_chunks` chunks. */
export interface Prompt {
  type: "prompt";
  event_id: string;
  text: string;
  transition_chunks?: number;
}

/** Show another scene; this releases all tracks. */
export interface SceneChange {
  type: "scene";
  event_id: string;
  scene: string;
}

/** Show a picture of the client's own, base64 of a JPEG, PNG or WebP file, as an avatar. */
export interface PictureChange {
  type: "picture";
  event_id: string;
  picture: string;
}

/** One pointer event; `x`, `y` in 0..1 of the frame from its top left corner. */
export interface TrackPoint {
  id: number;
  phase: Phase;
  x: number;
  y: number;
}

/** Pointer events in the order they happened. */
export interface Tracks {
  type: "tracks";
  event_id: string;
  points: TrackPoint[];
}

/** Release these tracks, or all of them. */
export interface TracksClear {
  type: "tracks.clear";
  event_id: string;
  ids?: number[] | null;
}

/** The utterance is complete: play what is queued without waiting for more. */
export interface AudioEnd {
  type: "audio.end";
  event_id: string;
}

/** Barge-in: drop all audio that has not been played. */
export interface AudioClear {
  type: "audio.clear";
  event_id: string;
}

/** Stop media time; the last frame stays. */
export interface Pause {
  type: "pause";
  event_id: string;
}

/** Let media time go on after a pause. */
export interface Resume {
  type: "resume";
  event_id: string;
}

/** Start the stream's content anew, from its seed or a new one. */
export interface Reset {
  type: "reset";
  event_id: string;
  seed?: number | null;
}

/** Change the seed of what is generated from here on. */
export interface SeedChange {
  type: "seed";
  event_id: string;
  seed: number;
}

/** What the client shows now: media time, last video seq drawn, frames waiting and dropped. */
export interface Ack {
  type: "ack";
  playhead_us: number;
  last_seq: number;
  decode_queue?: number;
  dropped?: number;
}

/** Ask for a key frame. */
export interface KeyRequest {
  type: "key";
}

/** Ask for the server's clock; `t_ms` comes back unchanged. */
export interface Ping {
  type: "ping";
  t_ms: number;
}

/** A scene that a model can show; `thumbnail` is a path on this server. */
export interface SceneInfo {
  name: string;
  title: string;
  kind: "avatar" | "scene";
  thumbnail?: string | null;
}

/** Text that says what to show; `examples` are prompts that the model knows well. */
export interface PromptInput {
  examples: string[];
}

/** Speech that the model hears, int16 mono at `sample_rate` Hz, and gives back with its frames. It is shown `lookahead_ms` after it was fed. */
export interface SpeechInput {
  sample_rate: number;
  lookahead_ms: number;
}

/** Points that are dragged or held; at most `max_tracks` at a time. */
export interface TracksInput {
  max_tracks: number;
}

/** How a face lies in a picture that a model can work with: a square of `size` pixels a side. `eyes`, from left to right, and `mouth` are their middles, x and y in 0..1. */
export interface PictureGuide {
  size: number;
  eyes: [[number, number], [number, number]];
  mouth: [number, number];
}

/** A start or reference picture that is no face; `required`: no stream begins without one. */
export interface ImageInput {
  width: number;
  height: number;
  required: boolean;
}

/** Moves of the camera: free in six degrees, or by keys as in a game. */
export interface CameraInput {
  kind: "6dof" | "wasd";
}

/** Frames in, at `fps`, of `width` x `height` pixels. */
export interface VideoInput {
  width: number;
  height: number;
  fps: number;
}

/** What a model accepts: `ModelInputs` with the scenes as clients see them. An input that is left out is not taken. */
export interface Inputs {
  scenes?: SceneInfo[] | null;
  prompt?: PromptInput | null;
  speech?: SpeechInput | null;
  tracks?: TracksInput | null;
  picture?: PictureGuide | null;
  image?: ImageInput | null;
  camera?: CameraInput | null;
  video?: VideoInput | null;
  seed: boolean;
}

/** What a client must know of a model before it opens a stream. `chunk_frames` is the usual number; what counts is how many frames come. Without `sample_rate` the model gives no sound. */
export interface ModelDescription {
  name: string;
  title: string;
  width: number;
  height: number;
  fps: number;
  chunk_frames: number;
  sample_rate?: number | null;
  inputs: Inputs;
}

/** The bounds that this server enforces. */
export interface Limits {
  max_text_bytes: number;
  max_picture_bytes: number;
  max_audio_ms: number;
  max_queued_audio_ms: number;
  max_prompt_chars: number;
  max_points: number;
  messages_per_s: number;
  ack_interval_ms: number;
}

/** Answer to the client's hello. */
export interface ServerHello {
  type: "hello";
  version: number;
  server: string;
  models: ModelDescription[];
  codecs: Codec[];
  limits: Limits;
}

/** The stream is open or resumed; its next video packet is a key frame. */
export interface SessionReady {
  type: "session.ready";
  session_id: string;
  resume_token: string;
  model: string;
  scene?: string | null;
  prompt: string;
  seed: number;
  has_picture: boolean;
  width: number;
  height: number;
  fps: number;
  chunk_frames: number;
  sample_rate?: number | null;
  codec: Codec;
  codec_string: string;
  generation: number;
  next_seq: number;
  resumed: boolean;
  grace_s: number;
}

/** A control takes effect with this chunk, at this media time. */
export interface Applied {
  type: "applied";
  event_id: string;
  chunk: number;
  pts_us: number;
  position_us?: number | null;
  ignored_words?: string[] | null;
  scene?: string | null;
}

/** A control was refused and has no effect. */
export interface Rejected {
  type: "rejected";
  event_id: string;
  code: string;
  field?: string | null;
  message: string;
  hint: string;
}

/** What the stream does now; sent when it changes. */
export interface State {
  type: "state";
  received: boolean;
  talking: boolean;
  paused: boolean;
  queued_audio_ms: number;
  scene?: string | null;
  ignored_words?: string[] | null;
  pts_us: number;
}

/** Figures about the last second. */
export interface Stats {
  type: "stats";
  chunk: number;
  fps: number;
  lead_ms: number;
  chunk_time_ms: number;
  rtf: number;
  kbps: number;
  target_kbps: number;
  skipped_frames: number;
  sessions: number;
  queued_audio_ms: number;
}

/** Answer to ping with the server's clock, the one of the packets' `server_ms`. */
export interface Pong {
  type: "pong";
  t_ms: number;
  server_ms: number;
}

/** The server shuts down soon; the stream goes on until it closes the socket. */
export interface DrainingNotice {
  type: "draining";
  retry_after_s: number;
}

/** A part of the model was lost and is started again; the stream then goes on by itself. */
export interface EngineRestarting {
  type: "engine.restarting";
  retry_after_s: number;
}

/** Something went wrong that answers no event_id; a fatal one closes the socket. */
export interface ErrorMessage {
  type: "error";
  code: string;
  message: string;
  field?: string | null;
  hint?: string | null;
  fatal: boolean;
  retry_after_s?: number | null;
}

export type ClientMessage =
  | ClientHello
  | SessionCreate
  | SessionResume
  | SessionClose
  | Prompt
  | SceneChange
  | PictureChange
  | Tracks
  | TracksClear
  | AudioEnd
  | AudioClear
  | Pause
  | Resume
  | Reset
  | SeedChange
  | Ack
  | KeyRequest
  | Ping;

export type ServerMessage =
  | ServerHello
  | SessionReady
  | Applied
  | Rejected
  | State
  | Stats
  | Pong
  | DrainingNotice
  | EngineRestarting
  | ErrorMessage;

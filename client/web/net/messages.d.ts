/** The JSON messages of protocol version 1. Made by server/protocol/generate.py from the server's messages; do not edit. */

export type Codec = "h264" | "vp8" | "jpeg";

export type AudioCodec = "pcm" | "opus";

export type Phase = "down" | "move" | "up" | "anchor";

/** First message on a socket: what the client speaks and can decode, best codecs first. */
export interface ClientHello {
  event_id?: string | null;
  type: "hello";
  versions: number[];
  client?: string;
  codecs: string[];
  audio?: boolean;
  audio_codecs?: string[] | null;
  token?: string | null;
}

/** Open a new stream; what is left out is the server's choice. `picture`, base64 of a JPEG, PNG or WebP file, is shown unless `scene` asks for another; `image`, likewise, is what the stream starts from or refers to. `audio_codec` and `audio_rate`, in samples per second, are those of the audio that the client will send, which comes back at that rate. No more than `lead_chunks` are made ahead of its playhead: less delay for one beside the server. `ticket` is that of `queued`, of a client that was lost while it waited. With `record` the client agrees that its stream is written down, where the server's operator permits it, and with `record_pictures` also what it shows; `session.ready` says what is done. */
export interface SessionCreate {
  max_kbps?: number | null;
  max_width?: number | null;
  max_height?: number | null;
  max_fps?: number | null;
  event_id?: string | null;
  type: "session.create";
  model?: string | null;
  scene?: string | null;
  picture?: string | null;
  image?: string | null;
  prompt?: string | null;
  seed?: number | null;
  audio_codec?: AudioCodec;
  audio_rate?: number | null;
  lead_chunks?: number | null;
  ticket?: string | null;
  record?: boolean;
  record_pictures?: boolean;
}

/** Go on with a stream whose socket was lost; `last_seq` is the last video seq shown or -1. */
export interface SessionResume {
  event_id?: string | null;
  type: "session.resume";
  session_id: string;
  resume_token: string;
  last_seq: number;
}

/** Watch the stream of the share link whose token `hello` had, and nothing else. */
export interface SessionWatch {
  event_id?: string | null;
  type: "session.watch";
}

/** Begin to record the stream as a film on the server, or end that; `session.recording` answers. Only where `limits.may_record` says that clients may. */
export interface SessionRecord {
  event_id?: string | null;
  type: "session.record";
  on: boolean;
  format?: "mp4" | "webm";
}

/** Ask for a token by which others may watch this stream; `session.shared` is the answer. It is good for `expires_in_s`. With `revoke` those made before are not good any more, and who watches by them is sent away; then `expires_in_s` may be 0, for no new one. With `publish` it is one by which another may send sound and video to this stream, over WHIP, and not watch it. */
export interface SessionShare {
  event_id?: string | null;
  type: "session.share";
  expires_in_s?: number;
  revoke?: boolean;
  publish?: boolean;
}

/** End the stream and free it at once. */
export interface SessionClose {
  event_id?: string | null;
  type: "session.close";
}

/** Ask what is in force now; `session.info` is the answer. */
export interface SessionQuery {
  event_id?: string | null;
  type: "session.query";
}

/** Change the text prompt, blending over `transition_chunks` chunks. */
export interface Prompt {
  event_id: string;
  at_us?: number | null;
  type: "prompt";
  text: string;
  transition_chunks?: number;
}

/** Show another scene; this releases all tracks. */
export interface SceneChange {
  event_id: string;
  at_us?: number | null;
  type: "scene";
  scene: string;
}

/** Show a picture of the client's own, base64 of a JPEG, PNG or WebP file, as an avatar. */
export interface PictureChange {
  event_id: string;
  at_us?: number | null;
  type: "picture";
  picture: string;
}

/** Start anew from another image, base64 of a JPEG, PNG or WebP file, or refer to it. */
export interface ImageChange {
  event_id: string;
  at_us?: number | null;
  type: "image";
  image: string;
}

/** Move the camera like this until told otherwise; what is left out does not move. `translation` is right, down and forward, in widths of the picture a second; `rotation` is pitch (up), yaw (right) and roll (clockwise), in degrees a second. */
export interface CameraChange {
  event_id: string;
  at_us?: number | null;
  type: "camera";
  translation?: [number, number, number] | null;
  rotation?: [number, number, number] | null;
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
  event_id: string;
  at_us?: number | null;
  type: "tracks";
  points: TrackPoint[];
}

/** Release these tracks, or all of them. */
export interface TracksClear {
  event_id: string;
  at_us?: number | null;
  type: "tracks.clear";
  ids?: number[] | null;
}

/** What is sent from here on is the utterance `item_id`, of which `speech` will tell. */
export interface AudioBegin {
  type: "audio.begin";
  event_id: string;
  item_id: string;
}

/** The utterance is complete: play what is queued without waiting for more. */
export interface AudioEnd {
  type: "audio.end";
  event_id: string;
  item_id?: string | null;
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
  event_id: string;
  at_us?: number | null;
  type: "reset";
  seed?: number | null;
}

/** Change the seed of what is generated from here on. */
export interface SeedChange {
  event_id: string;
  at_us?: number | null;
  type: "seed";
  seed: number;
}

/** Other bounds for the video from the next frame on; what is left out stays as it is. */
export interface VideoChange {
  max_kbps?: number | null;
  max_width?: number | null;
  max_height?: number | null;
  max_fps?: number | null;
  type: "video";
  event_id: string;
}

/** What the client shows now: media time, last video seq drawn, frames waiting and dropped. */
export interface Ack {
  event_id?: string | null;
  type: "ack";
  playhead_us: number;
  last_seq: number;
  decode_queue?: number;
  dropped?: number;
}

/** Ask for a key frame. */
export interface KeyRequest {
  event_id?: string | null;
  type: "key";
}

/** Ask for the server's clock; `t_ms` comes back unchanged. */
export interface Ping {
  event_id?: string | null;
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

/** What a client must know of a model before it opens a stream. `chunk_frames` is the usual number; what counts is how many frames come. `sample_rate` is that at which it hears; without one it gives no sound. */
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
  max_frame_bytes: number;
  max_audio_ms: number;
  max_queued_audio_ms: number;
  max_prompt_chars: number;
  max_points: number;
  max_items: number;
  max_scheduled: number;
  max_viewers: number;
  clip_s: number;
  may_record: boolean;
  messages_per_s: number;
  ack_interval_ms: number;
}

/** Answer to the client's hello. */
export interface ServerHello {
  type: "hello";
  event_id?: string | null;
  version: number;
  server: string;
  models: ModelDescription[];
  codecs: Codec[];
  audio_codecs: AudioCodec[];
  limits: Limits;
}

/** All places are taken, and the client waits in the line for one: it is `position`th. It should have one in `eta_s`; left out where nobody knows. Who is lost and sends `ticket` in `session.create` stands where it stood. Sent whenever that changes, and every few seconds. */
export interface Queued {
  type: "queued";
  event_id?: string | null;
  position: number;
  eta_s?: number | null;
  ticket: string;
}

/** The stream is open or resumed; its next video packet is a key frame. `width` and `height` are those of the pictures that are sent, `sample_rate` that of the sound; `audio_codec` is left out by a stream that sends none; `recorded`: what is asked of it is written down, with `recorded_pictures` also what its client shows. */
export interface SessionReady {
  type: "session.ready";
  event_id?: string | null;
  session_id: string;
  resume_token: string;
  model: string;
  scene?: string | null;
  prompt: string;
  seed: number;
  has_picture: boolean;
  has_image: boolean;
  width: number;
  height: number;
  fps: number;
  chunk_frames: number;
  sample_rate?: number | null;
  codec: Codec;
  codec_string: string;
  audio_codec?: AudioCodec | null;
  generation: number;
  next_seq: number;
  resumed: boolean;
  grace_s: number;
  recorded: boolean;
  recorded_pictures: boolean;
}

/** A track that is held; `anchor`: it is pinned. */
export interface HeldTrack {
  id: number;
  anchor: boolean;
}

/** How the camera moves, in the units of the `camera` control. */
export interface CameraState {
  translation: [number, number, number];
  rotation: [number, number, number];
}

/** What is in force now: the answer to `session.query`. `waiting` names the controls that were not answered yet, in the order of their arrival, those that wait for their time last; `items` the utterances that are not over. */
export interface SessionInfo {
  type: "session.info";
  event_id?: string | null;
  session_id: string;
  model: string;
  scene?: string | null;
  prompt: string;
  seed: number;
  has_picture: boolean;
  has_image: boolean;
  paused: boolean;
  tracks: HeldTrack[];
  camera?: CameraState | null;
  width: number;
  height: number;
  fps: number;
  max_fps: number;
  max_kbps: number;
  target_kbps: number;
  codec: Codec;
  audio_codec?: AudioCodec | null;
  audio_rate: number;
  generation: number;
  next_seq: number;
  pts_us: number;
  queued_audio_ms: number;
  items: string[];
  waiting: string[];
  grace_s: number;
}

/** The stream is shown from here on; its first video packet is a key frame. The fields are those of `session.ready`; `viewers` watch it, this one among them. */
export interface SessionWatching {
  type: "session.watching";
  event_id?: string | null;
  session_id: string;
  model: string;
  width: number;
  height: number;
  fps: number;
  chunk_frames: number;
  sample_rate?: number | null;
  codec: Codec;
  codec_string: string;
  audio_codec?: AudioCodec | null;
  generation: number;
  viewers: number;
}

/** By `share_token` others may come and watch until `expires_s`, in seconds since 1970. Both are left out where no new one was asked for. */
export interface SessionShared {
  type: "session.shared";
  event_id?: string | null;
  share_token?: string | null;
  expires_s?: number | null;
}

/** Whether the stream is recorded as a film on the server, as `format`; `why` it has ended. `seconds` were recorded so far. Sent when that changes. */
export interface SessionRecording {
  type: "session.recording";
  event_id?: string | null;
  on: boolean;
  format?: "mp4" | "webm" | null;
  seconds: number;
  why?: string | null;
}

/** So many watch the stream by a share link; sent when that changes. */
export interface Viewers {
  type: "viewers";
  count: number;
}

/** The video goes on with another encoder: how to decode the packets of this generation. `message`, for people, says why if the encoder before it failed. */
export interface VideoFormat {
  type: "video.format";
  generation: number;
  codec: Codec;
  codec_string: string;
  width: number;
  height: number;
  message?: string | null;
}

/** Over WebRTC: the video frame with this RTP timestamp shows `pts_us`; later ones likewise. RTP counts 90,000 a second. Said anew whenever media time stood still or went on late. */
export interface MediaClock {
  type: "media.clock";
  rtp_timestamp: number;
  pts_us: number;
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
  item_id?: string | null;
  played_ms?: number | null;
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

/** How an utterance with an `item_id` goes: it has started, has ended, or was cleared. It starts, ends or stops at `pts_us`, after `samples` of its own were played, which last `played_ms`. */
export interface Speech {
  type: "speech";
  item_id: string;
  phase: "started" | "ended" | "cleared";
  pts_us: number;
  samples: number;
  played_ms: number;
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

/** How much a stream gives up while the server is too slow for all; at `level` 0 nothing. `why` is for people. */
export interface StreamQuality {
  level: number;
  why?: string | null;
}

/** The stream gave its place to others while it stood still, and goes on where it was. Once it should, it is `position`th of those who wait for a place, and should have one in `eta_s`; both are left out before that, and the second where nobody knows. */
export interface StreamParked {
  position?: number | null;
  eta_s?: number | null;
}

/** Figures about the last second. `video_frames` of the client's video were given to the model so far, `video_dropped` were not; both are left out where the model takes none. `parked` is left out while it has a place. */
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
  video_frames?: number | null;
  video_dropped?: number | null;
  quality?: StreamQuality | null;
  parked?: StreamParked | null;
}

/** Answer to ping with the server's clock, the one of the packets' `server_ms`. */
export interface Pong {
  type: "pong";
  event_id?: string | null;
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

/** Something went wrong that is no answer to a control; a fatal one closes the socket. `event_id` is that of the message at fault, `seq` that of the packet, if it could be read. */
export interface ErrorMessage {
  type: "error";
  code: string;
  message: string;
  field?: string | null;
  hint?: string | null;
  event_id?: string | null;
  seq?: number | null;
  fatal: boolean;
  retry_after_s?: number | null;
}

export type ClientMessage =
  | ClientHello
  | SessionCreate
  | SessionResume
  | SessionWatch
  | SessionRecord
  | SessionShare
  | SessionClose
  | SessionQuery
  | Prompt
  | SceneChange
  | PictureChange
  | ImageChange
  | CameraChange
  | Tracks
  | TracksClear
  | AudioBegin
  | AudioEnd
  | AudioClear
  | Pause
  | Resume
  | Reset
  | SeedChange
  | VideoChange
  | Ack
  | KeyRequest
  | Ping;

export type ServerMessage =
  | ServerHello
  | Queued
  | SessionReady
  | SessionInfo
  | SessionWatching
  | SessionShared
  | SessionRecording
  | Viewers
  | VideoFormat
  | MediaClock
  | Applied
  | Rejected
  | Speech
  | State
  | Stats
  | Pong
  | DrainingNotice
  | EngineRestarting
  | ErrorMessage;

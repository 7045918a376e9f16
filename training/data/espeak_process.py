"""Stand-alone program around libespeak-ng: arguments voice, words per minute, text.

A fresh process for every utterance, because the library carries state (noise, phase) from one
utterance to the next and cannot be restarted. Writes one JSON line (rate, events as name and
start in ms) and then s16le samples to standard output. Exit status 3: not installed.
"""

import ctypes
import ctypes.util
import json
import sys


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_END_OF_LIST, _PHONEME = 0, 7
_SYNCHRONOUS, _PHONEME_EVENTS, _RATE_PARAMETER, _UTF8 = 2, 1, 1, 1
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)
NOT_INSTALLED = 3


def main(voice: str, words_per_minute: str, text: str) -> int:
    """Speak to standard output; returns the exit status."""
    name = ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1"
    try:
        lib = ctypes.CDLL(name)
    except OSError:
        return NOT_INSTALLED
    sound, events = bytearray(), []

    def receive(samples, count, event) -> int:
        if samples and count > 0:
            sound.extend(ctypes.string_at(samples, count * 2))
        k = 0
        while event[k].type != _END_OF_LIST:
            if event[k].type == _PHONEME:
                events.append(
                    [event[k].id.string.decode("utf-8", "replace"), event[k].audio_position_ms]
                )
            k += 1
        return 0

    callback = _CALLBACK(receive)
    rate = int(lib.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS))
    if rate <= 0 or lib.espeak_SetVoiceByName(voice.encode()) != 0:
        return NOT_INSTALLED
    lib.espeak_SetSynthCallback(callback)
    lib.espeak_SetParameter(_RATE_PARAMETER, int(words_per_minute), 0)
    ctypes.CDLL(None).srand(1)  # the breath noise comes from rand()
    data = text.encode()
    lib.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, _UTF8, None, None)
    header = json.dumps({"rate": rate, "events": events}) + "\n"
    sys.stdout.buffer.write(header.encode() + bytes(sound))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))

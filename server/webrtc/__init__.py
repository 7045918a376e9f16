"""Streams over WebRTC: packets that are encoded already, paced and sent by RTP, and sound in."""

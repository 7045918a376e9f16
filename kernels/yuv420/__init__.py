"""Frames of a decoder as planar YUV420, which encoders take."""

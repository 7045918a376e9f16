"""A preset with its weights as a stream, and what that needs of memory."""

"""What a viewer's pointer and camera ask for, as points that move: one file a step."""

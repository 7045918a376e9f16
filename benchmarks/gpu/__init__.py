"""What is asked of a GPU once one is at hand: is everything right, and how fast is it?"""

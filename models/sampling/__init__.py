"""From noise to latents: schedules, the steps of a chunk, batches of rows."""

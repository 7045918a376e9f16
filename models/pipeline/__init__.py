"""Executors, which make the chunks of many streams: one after the other, in batches, in stages.

An executor drives a model (`models.contract`) in its own process (`Sequential`, `Batched`,
`Diagonal`) or in processes of its own (`Pipeline`), and tells of what became of chunks as events.
Each process of a pipeline is a stage; a stage plan says which calls of the student each one makes.
"""

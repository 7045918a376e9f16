"""Checkpoints of a student that knew fewer words: new ones begin as in a new student."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

TABLE = "words.table"


def grow_weights(saved: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """`saved` weights with the rows that `model` has and they lack in their word table.

    New words come last in a vocabulary. Raises ValueError if words were taken away.
    """
    if TABLE not in saved:
        return saved
    return saved | {TABLE: _with_rows(saved[TABLE], model.get_parameter(TABLE).detach())}


def grow_checkpoint(saved: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """The same of all that a `Trainer` saves; the optimiser has not seen the new words yet."""
    if TABLE not in saved["model"]:
        return saved
    names = [name for name, _ in model.named_parameters()]
    place = names.index(TABLE)
    optimizer = saved["optimizer"]
    state: dict[int, dict[str, Tensor]] = optimizer["state"]
    if place in state:
        unseen = torch.zeros_like(model.get_parameter(TABLE))
        grown = {k: _with_rows(t, unseen) if t.ndim else t for k, t in state[place].items()}
        optimizer = optimizer | {"state": state | {place: grown}}
    both = {key: grow_weights(saved[key], model) for key in ("model", "averaged")}
    return saved | both | {"optimizer": optimizer}


def _with_rows(table: Tensor, whole: Tensor) -> Tensor:
    """`table` [n, D], and the rows of `whole` [N, D] from n on."""
    if len(table) > len(whole):
        raise ValueError(f"a word table of {len(table)} words does not fit {len(whole)}")
    return torch.cat([table, whole[len(table) :]])

"""Writes MediaPipe's published face networks in the form that page and server read:

    pip download --no-deps --python-version 3.11 --only-binary :all: mediapipe==0.10.21
    pip install tflite
    python -m training.face_networks mediapipe-0.10.21-*.whl

One safetensors file of float16 weights, as published; its metadata has the operations of each
network. Nothing is trained here.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from rollcast.models.face.networks import FILE

SOURCES = {
    "detector": "mediapipe/modules/face_detection/face_detection_short_range.tflite",
    "mesh": "mediapipe/modules/face_landmark/face_landmark.tflite",
}
_NOTE = "BlazeFace (short range) and Face Mesh of MediaPipe 0.10.21, Apache-2.0, Google LLC"


class Reader:
    """One network of a .tflite file: its operations, and their weights by name."""

    def __init__(self, name: str, data: bytes) -> None:
        # a parser of the format that nothing else here needs
        import tflite  # pyright: ignore[reportMissingImports]

        self._tflite: Any = tflite
        self._name = name
        self._model = tflite.Model.GetRootAs(data, 0)
        self._graph = self._model.Subgraphs(0)
        codes = vars(tflite.BuiltinOperator)
        self._kinds = {number: kind for kind, number in codes.items() if isinstance(number, int)}
        self._half: dict[int, int] = {}
        self.weights: dict[str, np.ndarray] = {}

    def graph(self) -> dict[str, Any]:
        """Size of the input, operations in order, and the tensors that are its outputs."""
        steps = []
        for k in range(self._graph.OperatorsLength()):
            operator = self._graph.Operators(k)
            code = self._model.OperatorCodes(operator.OpcodeIndex())
            kind = self._kinds[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            if kind == "DEQUANTIZE":
                self._half[operator.Outputs(0)] = operator.Inputs(0)
            else:
                steps.append(self._step(kind, operator))
        outputs = [self._graph.Outputs(k) for k in range(self._graph.OutputsLength())]
        first = self._graph.Inputs(0)
        return {"side": self._shape(first)[1], "input": first, "steps": steps, "outputs": outputs}

    def _step(self, kind: str, operator: Any) -> dict[str, Any]:
        inputs = [operator.Inputs(k) for k in range(operator.InputsLength())]
        step: dict[str, Any] = {"kind": kind.lower(), "in": inputs, "out": operator.Outputs(0)}
        options = operator.BuiltinOptions()
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            table = "Conv2DOptions" if kind == "CONV_2D" else "DepthwiseConv2DOptions"
            read = self._options(table, options)
            values = self._values(inputs[1])
            # [O, H, W, I] -> [H, W, I, O]; of a depthwise one [1, H, W, C] -> [H, W, C]
            turned = values.transpose(1, 2, 3, 0) if kind == "CONV_2D" else values[0]
            step |= {"kind": "conv" if kind == "CONV_2D" else "depthwise", "in": inputs[:1]}
            step |= {"weight": self._keep(turned), "bias": self._keep(self._values(inputs[2]))}
            step |= self._window(read, inputs[0], values.shape[1:3])
            step["relu"] = read.FusedActivationFunction() == 1
        elif kind == "MAX_POOL_2D":
            read = self._options("Pool2DOptions", options)
            window = (read.FilterHeight(), read.FilterWidth())
            step |= {"kind": "maxpool", "size": window[0]} | self._window(read, inputs[0], window)
        elif kind == "PRELU":
            step |= {"in": inputs[:1], "slope": self._keep(self._values(inputs[1]).reshape(-1))}
        elif kind == "PAD":
            (rows, columns, channels) = self._values(inputs[1]).tolist()[1:]
            step |= {"in": inputs[:1], "pad": [*rows, *columns], "channels": channels[1]}
        elif kind == "ADD":
            step["relu"] = self._options("AddOptions", options).FusedActivationFunction() == 1
        elif kind == "RESHAPE":
            step |= {"in": inputs[:1], "columns": self._shape(operator.Outputs(0))[-1]}
        elif kind not in ("RELU", "CONCATENATION"):
            raise ValueError(f"{self._name} has an operation that is not known here: {kind}")
        return step

    def _options(self, table: str, options: Any) -> Any:
        read = getattr(self._tflite, table)()
        read.Init(options.Bytes, options.Pos)
        return read

    def _window(self, read: Any, tensor: int, size: tuple[int, ...]) -> dict[str, Any]:
        """Stride and the padding that "same" means for this tensor: rows, then columns."""
        stride, pad = read.StrideH(), [0, 0, 0, 0]
        if read.Padding() == 0:
            for axis in (0, 1):
                length = self._shape(tensor)[1 + axis]
                total = max((-(-length // stride) - 1) * stride + size[axis] - length, 0)
                pad[2 * axis : 2 * axis + 2] = [total // 2, total - total // 2]
        return {"stride": stride, "pad": pad}

    def _shape(self, tensor: int) -> list[int]:
        return [int(n) for n in self._graph.Tensors(tensor).ShapeAsNumpy()]

    def _values(self, tensor: int) -> np.ndarray:
        tensor = self._half.get(tensor, tensor)
        entry = self._graph.Tensors(tensor)
        types = {0: np.float32, 1: np.float16, 2: np.int32}
        data = self._model.Buffers(entry.Buffer()).DataAsNumpy()
        return np.frombuffer(data.tobytes(), types[entry.Type()]).reshape(self._shape(tensor))

    def _keep(self, values: np.ndarray) -> str:
        name = f"{self._name}.{len(self.weights)}"
        self.weights[name] = np.ascontiguousarray(values, np.float16)
        return name


def main(wheel: Path) -> None:
    """Write `FILE` from MediaPipe's wheel."""
    weights, graphs = dict[str, np.ndarray](), dict[str, Any]()
    with zipfile.ZipFile(wheel) as file:
        for name, path in SOURCES.items():
            reader = Reader(name, file.read(path))
            graphs[name] = reader.graph()
            weights |= reader.weights
    text = {name: json.dumps(graph, separators=(",", ":")) for name, graph in graphs.items()}
    save_file(weights, FILE, {"note": _NOTE, **text})


if __name__ == "__main__":
    main(Path(sys.argv[1]))

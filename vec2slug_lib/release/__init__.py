"""From a trained run to a folder that people download, in the study's layout.

Weights in safetensors, ONNX graphs in float32 and int8, a model card, hashes of every file, one
script that needs nothing but numpy and onnxruntime, and the files of the browser's playground.

In: a run's record and weights. Out: the folder, each graph compared with torch.
"""

from .release import ensure_graphs, export_graphs, export_release, load_release

__all__ = ["ensure_graphs", "export_graphs", "export_release", "load_release"]

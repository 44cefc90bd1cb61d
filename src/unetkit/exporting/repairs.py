"""What PyTorch's ONNX exporters write and runtimes stumble over, said in another way that means the same.

Works on an onnx.ModelProto in place. Assumes that nodes are in an order in which they can be computed.
"""

from typing import Any

_RANK = 4


def slice_cuts(onnx: Any, proto: Any) -> None:
    """Say every cut of the output as a Slice: exporters write a Pad by negative numbers.

    OpenVINO takes such a Pad for one that never makes a map smaller, and computes small images wrongly; TensorRT and
    others refuse it.
    """
    helper, nodes, needed = onnx.helper, list[Any](), set[str]()
    for node in reversed(proto.graph.node):
        if node.op_type == "Conv" or not needed.isdisjoint(node.output):
            needed.update(node.input)
        if node.op_type == "Pad" and needed.isdisjoint(node.output):
            name, (x, pads) = node.name or node.output[0], node.input[:2]
            made = [
                helper.make_node("Shape", [x], [f"{name}.shape"]),
                helper.make_node("Slice", [pads, f"{name}.ends", f"{name}.length"], [f"{name}.added"]),
                helper.make_node("Add", [f"{name}.shape", f"{name}.added"], [f"{name}.size"]),
                helper.make_node("Slice", [x, f"{name}.begin", f"{name}.size"], node.output),
            ]
            nodes += reversed(made)
            for part, values in (("begin", [0] * _RANK), ("ends", [_RANK]), ("length", [2 * _RANK])):
                tensor = helper.make_tensor(f"{name}.{part}", onnx.TensorProto.INT64, [len(values)], values)
                proto.graph.initializer.append(tensor)
        else:
            nodes.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))


def drop_dilations(proto: Any) -> None:
    """Take from every MaxPool the attribute that says it is not dilated: MindSpore Lite refuses it."""
    for node in proto.graph.node:
        if node.op_type == "MaxPool":
            kept = [attribute for attribute in node.attribute if attribute.name != "dilations"]
            del node.attribute[:]
            node.attribute.extend(kept)

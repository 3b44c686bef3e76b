"""The activations of one layer of a network, on the way to its answer: torch modules, TorchScript and torch.export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from evalsuite.errors import ContractError
from evalsuite.models.base import tensors_of

_CONVOLUTIONS = ("aten::_convolution", "aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::convolution")
_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One pass: the network's outputs, the activations of a layer, its name, and how often it occurs in a pass.

    Where a layer occurs several times (two views of an image, say) the activations are those of its first use.
    """

    outputs: Sequence[torch.Tensor]
    activation: torch.Tensor
    layer: str
    uses: int


Tapped: TypeAlias = Callable[[list[torch.Tensor]], Seen]


def tapped(network: Any, *, layer: str | None, last_is_output: bool) -> Tapped:
    """The network with a layer laid open.

    Parameters
    ----------
    layer
        Its name: of a module, or, where a package is no tree of modules any more, of the layer whose weights it has.
        The last convolution if None.
    last_is_output
        Whether the last convolution's result is the answer itself, so that the one before it is meant.

    Raises
    ------
    ContractError
        If there is no such layer, now or at the first pass; the message names some that are there.
    """
    from evalsuite.models.exported import ExportedNetwork
    from evalsuite.models.numeric_network import module_of

    module = module_of(network)
    if isinstance(module, torch.jit.ScriptModule):
        return _of_script(module, layer, last_is_output)
    if isinstance(network, ExportedNetwork):
        return _of_export(network.module, layer, last_is_output)
    if module is None:
        raise ContractError("this package's network cannot be opened: it is run by something else than torch")
    return _of_module(module, layer, last_is_output)


def _chosen(found: Sequence[str], layer: str | None, last_is_output: bool, known: Sequence[str]) -> str:
    """The layer meant, of the convolutions `found` in order of use; `known` are all that can be named."""
    if layer is None:
        distinct = list(dict.fromkeys(found))
        if len(distinct) < 1 + last_is_output:
            raise ContractError(
                "the network has no convolution whose activations a class activation map could be made of",
                hint="Name another layer, or another method.",
            )
        return distinct[-2 if last_is_output else -1]
    if layer not in known:
        shown = ", ".join(list(dict.fromkeys(known))[-_SHOWN:])
        raise ContractError(
            f"the network has no layer {layer}",
            hint=f"Its last ones are {shown}." if shown else "Leave layer out.",
        )
    return layer


# --- torch modules ---------------------------------------------------------------------------------------------------


def _of_module(module: torch.nn.Module, layer: str | None, last_is_output: bool) -> Tapped:
    names = {m: name for name, m in module.named_modules() if name}
    if layer is not None:
        _chosen([], layer, last_is_output, list(names.values()))
    watched = [m for m, n in names.items() if n == layer or (layer is None and _convolves(m))]

    def run(x: list[torch.Tensor]) -> Seen:
        kept: list[tuple[str, torch.Tensor]] = []

        def keep(m: torch.nn.Module, _: Any, output: Any) -> Any:
            if not isinstance(output, torch.Tensor):
                raise ContractError(
                    f"layer {names[m]} gives something else than one tensor", hint="Name another layer."
                )
            kept.append((names[m], output))
            # a copy, so that an activation that overwrites its input does not overwrite what is looked at
            return output.clone()

        handles = [m.register_forward_hook(keep) for m in watched]
        try:
            outputs = tensors_of(module(*x))
        finally:
            for handle in handles:
                handle.remove()
        order = [name for name, _ in kept]
        chosen = _chosen(order, layer, last_is_output, order)
        first = next(activation for name, activation in kept if name == chosen)
        return Seen(outputs=outputs, activation=first, layer=chosen, uses=order.count(chosen))

    return run


def _convolves(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.modules.conv._ConvNd)


# --- TorchScript -----------------------------------------------------------------------------------------------------


def _of_script(module: torch.jit.ScriptModule, layer: str | None, last_is_output: bool) -> Tapped:
    """TorchScript calls its parts where no hook sees them: its graph is copied, laid flat and given one more result."""
    graph = module.graph.copy()
    torch._C._jit_pass_inline(graph)
    weighted = [(_owner(node), node) for node in graph.nodes() if _owner(node)]
    convolutions = [name for name, node in weighted if node.kind() in _CONVOLUTIONS]
    chosen = _chosen(convolutions, layer, last_is_output, [name for name, _ in weighted])
    nodes = [node for name, node in weighted if name == chosen]
    activation = nodes[0].output()
    # a copy for the rest of the network, so that what overwrites its input does not overwrite what is looked at
    graph.setInsertPoint(nodes[0])
    nothing = graph.insertConstant(None)  # type: ignore[attr-defined]
    copied = graph.create("aten::clone", [activation, nothing], 1)
    copied.insertAfter(nodes[0])
    activation.replaceAllUsesAfterNodeWith(copied, copied.output())
    copied.output().setType(activation.type())
    given = list(graph.outputs())
    both = graph.create("prim::TupleConstruct", [*given, activation], 1)
    both.output().setType(torch._C.TupleType([value.type() for value in (*given, activation)]))
    graph.appendNode(both)
    for _ in given:
        graph.eraseOutput(0)
    graph.registerOutput(both.output())
    function = torch._C._create_function_from_graph("tapped", graph)

    def run(x: list[torch.Tensor]) -> Seen:
        found = function(module._c, *x)
        answers = found[:-1]
        outputs = tensors_of(answers[0] if len(answers) == 1 else answers)
        return Seen(outputs=outputs, activation=found[-1], layer=chosen, uses=len(nodes))

    return run


def _owner(node: Any) -> str:
    """The layer whose weights an operation has: "features.conv" for one with the parameter "features.conv.weight"."""
    for value in node.inputs():
        chain, at = [], value.node()
        while at.kind() == "prim::GetAttr":
            chain.append(at.s("name"))
            at = next(iter(at.inputs())).node()
        if len(chain) > 1 and at.kind() == "prim::Param" and chain[0] in ("weight", "bias"):
            return ".".join(reversed(chain[1:]))
    return ""


# --- torch.export ----------------------------------------------------------------------------------------------------


def _of_export(module: Any, layer: str | None, last_is_output: bool) -> Tapped:
    graph = module.graph
    weighted = [(_weights_of(node), node) for node in graph.nodes if node.op == "call_function" and _weights_of(node)]
    convolutions = [name for name, node in weighted if "conv" in str(node.target)]
    chosen = _chosen(convolutions, layer, last_is_output, [name for name, _ in weighted])
    nodes = [node for name, node in weighted if name == chosen]

    def run(x: list[torch.Tensor]) -> Seen:
        interpreter = _Keeping(module, nodes[0])
        outputs = tensors_of(interpreter.run(*x))
        assert interpreter.kept is not None, "the node is part of the graph"
        return Seen(outputs=outputs, activation=interpreter.kept, layer=chosen, uses=len(nodes))

    return run


def _weights_of(node: Any) -> str:
    for value in node.args:
        if getattr(value, "op", None) == "get_attr" and str(value.target).rpartition(".")[2] in ("weight", "bias"):
            return str(value.target).rpartition(".")[0]
    return ""


class _Keeping(torch.fx.Interpreter):
    def __init__(self, module: Any, node: Any) -> None:
        super().__init__(module)
        self._wanted = node
        self.kept: torch.Tensor | None = None

    def run_node(self, n: Any) -> Any:
        result = super().run_node(n)
        if n is self._wanted:
            self.kept = result
            result = result.clone()
        return result

"""One side of the gate: an interpreter that imports `semanir` from one tree and times what it is told to.

This one file is copied beside both trees and run by path. It imports the standard library, torch, and `semanir` from
the tree that it is given, and nothing else: whatever the harness of either tree does, both sides are timed alike.
Requests and answers are JSON, one a line; every request has exactly one answer, and an error is an answer.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import math
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

Call = Callable[[], Any]
Request = Mapping[str, Any]
Answer = dict[str, Any]

PACKAGE = "semanir"
PATCH = 3
"""Side in pixels of the neighbourhood that makes a token's features."""
FLUSH_BYTES = 256 * 2**20
"""Written before a cold sample on a GPU, or twice its second-level cache where that is more."""
SENTINEL_SIDE = 192
WARM_CALLS = 3
CALIBRATIONS = 31
UNITS = 100
"""Of extra work, timed together."""


def main(tree: Path, threads: int) -> None:
    """Answer requests until the pipe closes."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    worker = Worker(tree, threads)
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:
            traceback.print_exc()
            text = str(error).strip().partition("\n")[0]
            answer = {"error": f"{type(error).__name__}: {text}"[:500]}
        pipe.write(json.dumps(answer) + "\n")


class OwnTree:
    """Finds the package and all of its modules in one tree, and nowhere else.

    An editable install maps the whole package to its checkout: a module that this tree lacks would be taken from there,
    and a backend that base has never had would be timed in base's name.
    """

    def __init__(self, tree: Path) -> None:
        self._tree = tree

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """Follow `importlib.abc.MetaPathFinder`. Raises `ModuleNotFoundError` for what the tree lacks."""
        if name.partition(".")[0] != PACKAGE:
            return None
        found = PathFinder.find_spec(name, [str(self._tree)] if path is None else list(path))
        if found is None:
            raise ModuleNotFoundError(f"this tree has no module '{name}'", name=name)
        return found


class Worker:
    """The prepared cells of one interpreter, and its clock."""

    def __init__(self, tree: Path, threads: int) -> None:
        self._tree = tree.resolve()
        self._threads = threads
        self._calls: dict[str, Call] = {}
        self._devices: dict[str, str] = {}
        self._filler: Any = None

    def answer(self, request: Request) -> Answer:
        """Do what one request asks for."""
        match request["do"]:
            case "hello":
                return self._hello(with_torch=request.get("torch", True))
            case "prepare":
                return self._prepare(request["cell"], request["photo"])
            case "freeze":
                return self._freeze()
            case "sample":
                return self._sample(request["cell"], request["calls"], cold=request.get("cold", False))
            case "calibrate":
                return self._calibrate(request["cell"], request["photo"], request["module"])
            case "exact":
                return exact(request["cell"], request["photo"])
            case other:
                raise ValueError(f"no request '{other}'")

    def _hello(self, *, with_torch: bool) -> Answer:
        """Import the package, and say where it came from and what computes."""
        sys.path.insert(0, str(self._tree))
        sys.meta_path.insert(0, OwnTree(self._tree))
        package = importlib.import_module(PACKAGE)
        file = Path(str(package.__file__)).resolve()
        if not file.is_relative_to(self._tree):
            return {"error": f"semanir was imported from {file}, which is not in {self._tree}", "foreign": True}
        versions = {"python": sys.version.partition(" ")[0]}
        cuda = ""
        if with_torch:
            import torch

            torch.set_num_threads(self._threads)
            versions["torch"] = str(torch.__version__)
            if torch.cuda.is_available():
                cuda = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
        return {"file": str(file), "pid": os.getpid(), "versions": versions, "cuda": cuda}

    def _prepare(self, cell: Request, photo: str) -> Answer:
        """Bring a cell to life, warm it up, and say what one call takes."""
        call = making(cell)(cell, photo)
        self._devices[cell["name"]] = cell.get("device", "cpu")
        self._calls[cell["name"]] = call
        for _ in range(WARM_CALLS - 1):
            call()
        return {"once_ms": self._time(cell["name"], 1)}

    def _freeze(self) -> Answer:
        """From here on nothing is collected while something is timed."""
        if strays := self._strays():
            raise ImportError(f"{strays[0]} was not imported from {self._tree}")
        gc.collect()
        gc.freeze()
        gc.disable()
        return {}

    def _strays(self) -> list[str]:
        """Name the modules of the package that came from somewhere else all the same."""
        own = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == PACKAGE}
        files = {name: getattr(module, "__file__", None) for name, module in own.items()}
        return [name for name, file in files.items() if file and not Path(file).resolve().is_relative_to(self._tree)]

    def _sample(self, name: str, calls: int, *, cold: bool) -> Answer:
        before = resource.getrusage(resource.RUSAGE_SELF)
        elapsed = self._cold_ms(name, calls) if cold else self._time(name, calls)
        after = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "ms": elapsed,
            "cpu_ms": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3 / calls,
            "switches": after.ru_nivcsw - before.ru_nivcsw,
        }

    def _calibrate(self, cell: Request, photo: str, module: str) -> Answer:
        """Return the medians of one call and of one unit of extra work, timed in turn; for the gate's own test."""
        self._prepare(cell, photo)
        extra = importlib.import_module(module).gate_extra
        calls, units = [], []
        for _ in range(CALIBRATIONS):
            calls.append(self._time(cell["name"], 1))
            start = time.perf_counter()
            extra(UNITS)
            units.append((time.perf_counter() - start) * 1e3 / UNITS)
        return {"call_ms": sorted(calls)[CALIBRATIONS // 2], "unit_ms": sorted(units)[CALIBRATIONS // 2]}

    def _time(self, name: str, calls: int) -> float:
        """Return the ms of one call, the mean over `calls` of them."""
        call = self._calls[name]
        if self._devices[name] == "cuda":
            return _device_ms(call, calls, ahead=call)
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - start) * 1e3 / calls

    def _cold_ms(self, name: str, calls: int) -> float:
        call, device = self._calls[name], self._devices[name]
        total = 0.0
        for _ in range(calls):
            if device == "cuda":
                total += _device_ms(call, 1, ahead=lambda: self._flush("cuda"))
            else:
                self._flush(device)
                total += self._time(name, 1)
        return total / calls

    def _flush(self, device: str) -> None:
        """Fill the caches of the device with something else."""
        import torch

        if self._filler is None:
            size = FLUSH_BYTES
            if device == "cuda":
                size = max(size, 2 * torch.cuda.get_device_properties(0).L2_cache_size)
            self._filler = torch.empty(size // 4, dtype=torch.int32, device=device)
        self._filler.zero_()


def _device_ms(call: Call, calls: int, *, ahead: Call) -> float:
    """Return the ms of one call by the device's events; it is still at `ahead` while the host enqueues."""
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    ahead()
    start.record()
    for _ in range(calls):
        call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / calls


def making(cell: Request) -> Callable[[Request, str], Call]:
    """Return what brings a kind of cell to life. A tree may bring kinds of its own (`semanir.gate_cells`): tests do."""
    known = {
        "sentinel": _sentinel,
        "plain_sentinel": _plain_sentinel,
        "attention": _attention,
        "dictionary": _dictionary,
        "model": _model,
    }
    if cell["kind"] in known:
        return known[cell["kind"]]
    own = importlib.import_module("semanir.gate_cells")
    found: Callable[[Request, str], Call] = getattr(own, cell["kind"])
    return found


def _sentinel(cell: Request, photo: str) -> Call:
    """The same code on both sides, whatever the trees hold: products, a softmax, memory."""
    import torch

    generator = torch.Generator().manual_seed(0)
    device = cell.get("device", "cpu")
    x = torch.randn(8, SENTINEL_SIDE, SENTINEL_SIDE, generator=generator).to(device)

    def call() -> Any:
        with torch.inference_mode():
            y = x
            for _ in range(int(cell.get("rounds", 4))):
                y = torch.softmax(y @ x.mT, -1) @ x
            return y

    return call


def _plain_sentinel(cell: Request, photo: str) -> Call:
    """The same for trees whose cells need no torch."""
    rounds = int(cell.get("rounds", 2000))
    return lambda: sum(number * number for number in range(rounds))


def _attention(cell: Request, photo: str) -> Call:
    """A backend's forward, or the gradients after an untimed forward."""
    import torch

    backend, arguments, grad_out = _attention_call(cell, photo)
    attend = backend.load()
    q, k, v = (arguments.pop(name) for name in "qkv")
    if cell.get("direction", "forward") == "forward":

        def forward() -> Any:
            with torch.inference_mode():
                return attend(q, k, v, **arguments)

        return forward
    leaves = [tensor.detach().requires_grad_() for tensor in (q, k, v)]
    from torch._functorch import config as functorch_config

    # What torch compiles would hand the saved tensors on to the first of the gradient calls as scratch space.
    with torch.enable_grad(), functorch_config.patch(donated_buffer=False):
        out = attend(*leaves, **arguments)
    return lambda: torch.autograd.grad(out, leaves, grad_out, retain_graph=True)


def _attention_call(cell: Request, photo: str) -> tuple[Any, dict[str, Any], Any]:
    """Return a backend, the arguments of its call on a real dictionary, and the gradient that comes back to it."""
    import torch

    from semanir.attention import dictionary
    from semanir.attention.position import relative_index
    from semanir.attention.signature import SOFTMAX, Bias, Weighting

    windows, tokens, heads, head_dim = (int(cell[name]) for name in ("windows", "tokens", "heads", "head_dim"))
    device, dtype = cell.get("device", "cpu"), getattr(torch, cell.get("dtype", "float32"))
    backend = _backend(cell)
    backward = cell.get("direction", "forward") == "backward"
    generator = torch.Generator().manual_seed(int(cell.get("seed", 0)))

    def normal(*shape: int) -> Any:
        return torch.randn(shape, generator=generator).to(device, dtype)

    features = _features(photo, windows, tokens, int(cell.get("channels", 64))).to(device, dtype)
    forms = set(backend.forms(needs_grad=backward)) | set(cell.get("forms", ()))
    kept = dictionary.build(features, int(cell["top_k"]), forms=frozenset(forms), dtype=dtype)
    side = math.isqrt(tokens)
    # As a linear layer leaves them: views of one packed tensor.
    q, k, v = normal(windows, tokens, 3, heads, head_dim).permute(2, 0, 3, 1, 4)
    table = (normal((2 * side - 1) ** 2, heads) / 2).float() if cell.get("bias") else None
    arguments = {
        "q": q,
        "k": k,
        "v": v,
        "kept": kept,
        "bias": None if table is None else Bias(table, relative_index(side, torch.device(device))),
        "scale": head_dim**-0.5,
        "weighting": Weighting(softmax=0.5, relu_squared=0.5) if cell.get("sparse") else SOFTMAX,
    }
    return backend, arguments, normal(windows, tokens, heads, head_dim).transpose(1, 2)


def _backend(cell: Request) -> Any:
    return importlib.import_module(f"semanir.attention.backends.{cell['backend']}").BACKEND


def _dictionary(cell: Request, photo: str) -> Call:
    """Score all pairs of real features and keep the k best, with the packings that are asked for."""
    from semanir.attention import dictionary

    windows, tokens = int(cell["windows"]), int(cell["tokens"])
    features = _features(photo, windows, tokens, int(cell.get("channels", 64))).to(cell.get("device", "cpu"))
    forms, similarity = frozenset(cell["forms"]), cell.get("similarity", "dot")
    return lambda: dictionary.build(features, int(cell["top_k"]), forms=forms, similarity=similarity)


def _model(cell: Request, photo: str) -> Call:
    """One pass of a network over a photograph; with `direction: backward` a training step without its optimiser."""
    import torch

    network, image = _network(cell, photo)
    if cell.get("direction", "forward") == "forward":

        def forward() -> Any:
            with torch.inference_mode():
                return network(image)

        return forward
    network.train()

    def step() -> None:
        network.zero_grad(set_to_none=True)
        network(image).square().mean().backward()

    return step


def _network(cell: Request, photo: str) -> tuple[Any, Any]:
    import torch

    device, dtype = cell.get("device", "cpu"), getattr(torch, cell.get("dtype", "float32"))
    model, request = _requested(cell)
    torch.manual_seed(int(cell.get("seed", 0)))
    attend, forms = None, frozenset[str]()
    if cell.get("backend", "none") != "none":
        backend = _backend(cell)
        attend, forms = backend.load(), backend.forms(needs_grad=cell.get("direction") == "backward")
    network = model.build(request, attend=attend, forms=forms).eval().to(device, dtype)
    size, channels = int(cell["size"]), int(cell.get("channels", 3))
    image = _photo(photo)[:size, :size].permute(2, 0, 1)
    image = image if channels == 3 else image.mean(0, keepdim=True)
    batch = image[None].expand(int(cell.get("batch", 1)), -1, -1, -1)
    return network, batch.contiguous().to(device, dtype)


def _requested(cell: Request) -> tuple[Any, Any]:
    from semanir.model import Request as Asked

    family, _, configuration = cell["model"].partition("/")
    model = importlib.import_module(f"semanir.models.{family}").MODEL
    size = int(cell["size"])
    asked = Asked(
        configuration=configuration,
        channels=int(cell.get("channels", 3)),
        scale=int(cell.get("scale", 1)),
        height=size,
        width=size,
        batch=int(cell.get("batch", 1)),
        window=cell.get("window"),
        top_k=cell.get("top_k"),
        dtype=cell.get("dtype", "float32"),
        device=cell.get("device", "cpu"),
        needs_grad=cell.get("direction") == "backward",
    )
    if (reason := model.unsupported(asked)) is not None:
        raise ValueError(reason)
    return model, asked


def _photo(photo: str) -> Any:
    """Read a square photograph: float32, `side x side x 3`, in units of one."""
    import torch

    pixels = torch.frombuffer(bytearray(Path(photo).read_bytes()), dtype=torch.float32)
    side = math.isqrt(pixels.numel() // 3)
    return pixels.view(side, side, 3)


def _features(photo: str, windows: int, tokens: int, channels: int) -> Any:
    """Return `windows x tokens x channels` features of a photograph: each pixel's neighbours, projected at random."""
    import torch
    from torch.nn import functional

    side = math.isqrt(tokens)
    across = math.ceil(math.sqrt(windows))
    image = _photo(photo)
    while image.shape[0] < across * side:
        image = torch.cat([image, image.flip(0)], 0)
        image = torch.cat([image, image.flip(1)], 1)
    image = image[: across * side, : across * side].permute(2, 0, 1)[None]
    patches = functional.unfold(image, PATCH, padding=PATCH // 2)[0].T
    generator = torch.Generator().manual_seed(0)
    projected = patches @ torch.randn(patches.shape[1], channels, generator=generator)
    grid = projected.view(across, side, across, side, channels).transpose(1, 2)
    return grid.reshape(across**2, tokens, channels)[:windows].contiguous()


def exact(cell: Request, photo: str) -> Answer:
    """Measure what does not depend on time: the quantity that the cell names."""
    match cell["quantity"]:
        case "parameters":
            model, asked = _requested(cell)
            return {"value": float(model.parameters(asked))}
        case "flops":
            return {"value": float(_flops(cell, photo))}
        case "agreement":
            return {"value": _disagreement(cell, photo)}
        case "memory":
            return {"value": _peak_mib(cell, photo)}
        case "psnr":
            return {"value": _psnr(cell, photo)}
        case other:
            raise ValueError(f"no quantity '{other}'")


def _flops(cell: Request, photo: str) -> int:
    """Count by formula: of a network with its attention, or of one attention call (`spent`)."""
    from semanir.attention.problem import Problem

    if cell["kind"] == "model":
        model, asked = _requested(cell)
        spent = sum(model.flops(asked).values())
        if cell.get("backend", "none") != "none":
            spent += sum(_backend(cell).flops(problem).spent for problem in model.problems(asked))
        return int(spent)
    windows, tokens, top_k = (int(cell[name]) for name in ("windows", "tokens", "top_k"))
    problem = Problem(
        device=cell.get("device", "cpu"),
        dtype=cell.get("dtype", "float32"),
        windows=windows,
        heads=int(cell["heads"]),
        tokens=tokens,
        top_k=top_k,
        kept_pairs=windows * tokens * top_k,
        head_dim=int(cell["head_dim"]),
        has_bias=bool(cell.get("bias")),
        weighting="sparse" if cell.get("sparse") else "softmax",
    )
    return int(_backend(cell).flops(problem).spent)


def _disagreement(cell: Request, photo: str) -> float:
    """Return ||found - reference|| / ||reference||, of the output or, for a backward, of the worst gradient."""
    import torch

    from semanir.attention import reference

    wanted = {**cell, "forms": ["boolean"]}
    backend, arguments, grad_out = _attention_call(wanted, photo)

    def computed(attend: Any) -> list[Any]:
        given = dict(arguments)
        tensors = [given.pop(name) for name in "qkv"]
        if cell.get("direction", "forward") == "forward":
            with torch.no_grad():
                return [attend(*tensors, **given)]
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        out = attend(*leaves, **given)
        return list(torch.autograd.grad(out, leaves, grad_out.to(out.dtype)))

    pairs = zip(computed(backend.load()), computed(reference.attend), strict=True)
    return max(float((found.double() - true.double()).norm() / true.double().norm()) for found, true in pairs)


def _peak_mib(cell: Request, photo: str) -> float:
    """Return by how much one call lifts this process's peak; in an interpreter that has measured nothing else."""
    _small_pages()
    small = {"size": 16} if cell["kind"] == "model" else {"windows": 1}
    making(cell)({**cell, **small}, photo)()  # code pages and workspaces are not the call's
    call = making(cell)(cell, photo)
    gc.collect()
    _trim()
    before = _high_water_mib(reset=True)
    result = call()
    peak = _high_water_mib() - before
    del result
    return max(peak, 0.0)


def _small_pages() -> None:
    """Ask Linux for no pages of 2 MiB: how many of them a tensor touches depends on where it happens to lie."""
    try:
        ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE
    except (OSError, AttributeError):
        return


def _trim() -> None:
    """Give freed memory back: else it would hide what the call takes. Only glibc can."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


def _high_water_mib(*, reset: bool = False) -> float:
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _psnr(cell: Request, photo: str) -> float:
    """Restore a degraded photograph with shipped weights and compare in 8 bits, dB."""
    import torch

    from semanir.checkpoints import restore
    from semanir.weights import cards

    card = cards()[cell["weights"]]
    network, _ = _network({**cell, "model": card.model, "channels": card.channels, "scale": card.scale}, photo)
    restore(network, card.file, sha256=card.sha256)
    degraded, target = (_planes(cell[name], card.channels) for name in ("degraded", "target"))
    with torch.inference_mode():
        restored = network(degraded)
    error = (restored.clamp(0, 1) * 255).round() - (target * 255).round()
    return float(10 * torch.log10(255**2 / error.double().square().mean()))


def _planes(file: str, channels: int) -> Any:
    """Read `side x side x channels` float32 as `1 x channels x side x side`."""
    import torch

    pixels = torch.frombuffer(bytearray(Path(file).read_bytes()), dtype=torch.float32)
    side = math.isqrt(pixels.numel() // channels)
    return pixels.view(side, side, channels).permute(2, 0, 1)[None].contiguous()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

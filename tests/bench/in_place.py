"""Results written over operands: memory of donated arguments, copies and time in a scan."""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import cases
import jax
import jax.numpy as jnp
from cases import Join
from jax import lax
from report import Table, at_most, number
from timing import Effort, compare

import jax_siglib
from jax_siglib import _primitive

_STEPS = 16
_OURS, _WITHOUT = "jax_siglib", "no aliases"  # the second: with the kernels' results apart


def tables(joins: list[Join], dtypes: list[str], effort: Effort) -> list[Table]:
    """All that is said of it; float64, if wanted, comes last and stays switched on."""
    found = []
    for dtype in dtypes:
        if dtype == "float64":
            jax.config.update("jax_enable_x64", True)
        found += [_donation(joins, dtype), _scans(joins, dtype, effort)]
    return found


def _donation(joins: list[Join], dtype: str) -> Table:
    table = Table(
        f"donated arguments in a jitted call: memory in signature arrays, {dtype}",
        [
            *("B, d, N", "donated", "reused"),
            *("result lies where it lay", "temporary", "temporary without aliases"),
        ],
        notes=[
            "reused, temporary: by XLA's own account (compiled.memory_analysis())",
            "temporary for d_out: the levels of sig below the highest, which the kernel reads",
        ],
    )
    for case in joins:
        sig, step, ct = case.operands(dtype)
        statics = cases.keywords(case)
        programs: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
            "sig": (jax_siglib.sig_join, (sig, step)),
            "d_out": (jax_siglib.sig_join_backprop, (ct, sig, step)),
        }
        for donated, (function, operands) in programs.items():
            arrays = [jnp.array(x, copy=True) for x in operands]
            size, address = arrays[0].nbytes, arrays[0].unsafe_buffer_pointer()
            sides = _sides(functools.partial(function, **statics), arrays, donate_argnums=0)
            memory = {name: compiled.memory_analysis() for name, compiled in sides.items()}
            same = jax.tree.leaves(sides[_OURS](*arrays))[0].unsafe_buffer_pointer() == address
            shares = [memory[_OURS].alias_size_in_bytes / size]
            shares += [memory[name].temp_size_in_bytes / size for name in (_OURS, _WITHOUT)]
            cells = [number(x) for x in shares]
            where = "yes" if same else "no"
            table.add(
                [case.label, donated, cells[0], where, *cells[1:]],
                size=case.label,
                donated=donated,
                dtype=dtype,
                bytes=size,
                same_address=same,
                reused=shares[0],
                temporary={_OURS: shares[1], _WITHOUT: shares[2]},
            )
    return table


def _scans(joins: list[Join], dtype: str, effort: Effort) -> Table:
    table = Table(
        f"sig_join as the step of a scan of {_STEPS} steps, {dtype}",
        [
            *("B, d, N", "program", "copies of the carry in a step", "without aliases"),
            *("us a step", "us a step without aliases", "time / time without aliases"),
        ],
        notes=[
            "copies: instructions of the compiled HLO, in all loop bodies together",
            "gradient: of a sum of squares, by sig and all displacements; there are two loops, and"
            " XLA keeps the forward one's copy, as each step also stores the lower levels of sig",
        ],
    )
    for case in joins:
        sig, step, _ = (jnp.asarray(x) for x in case.operands(dtype))
        steps = jnp.broadcast_to(step / _STEPS, (_STEPS, *step.shape))
        join = functools.partial(jax_siglib.sig_join, **cases.keywords(case))

        def fold(sig: Any, steps: Any, join: Any = join) -> Any:
            return lax.scan(lambda s, v: (join(s, v), None), sig, steps)[0]

        def loss(sig: Any, steps: Any, fold: Any = fold) -> Any:
            return jnp.sum(fold(sig, steps) ** 2)

        for name, function in (("fold", fold), ("gradient", jax.grad(loss, (0, 1)))):
            sides = _sides(function, [sig, steps])
            copies = {side: _copies_in_loops(x.as_text(), sig.shape) for side, x in sides.items()}
            calls = {
                side: functools.partial(lambda f, *x: jax.block_until_ready(f(*x)), f, sig, steps)
                for side, f in sides.items()
            }
            taken = compare(calls, effort)
            table.add(
                [
                    *(case.label, name, str(copies[_OURS]), str(copies[_WITHOUT])),
                    *(number(taken[side].us.median / _STEPS) for side in (_OURS, _WITHOUT)),
                    at_most(taken[_OURS].over(taken[_WITHOUT]), None),
                ],
                size=case.label,
                program=name,
                dtype=dtype,
                copies=copies,
                timings={side: timing.record() for side, timing in taken.items()},
            )
            table.remark(f"{case.label}, {name}", taken)
    return table


def _sides(function: Callable[..., Any], arrays: list[Any], **options: Any) -> dict[str, Any]:
    """The program compiled as it is, and with no result written over an operand."""

    def compiled() -> Any:
        # A function of its own each time, or JAX would hand out what it has traced before.
        return jax.jit(lambda *x: function(*x), **options).lower(*arrays).compile()

    ours = compiled()
    with _no_aliases():
        return {_OURS: ours, _WITHOUT: compiled()}


@contextlib.contextmanager
def _no_aliases() -> Iterator[None]:
    rule = _primitive.overwritable
    _primitive.overwritable = lambda operand: False
    try:
        yield
    finally:
        _primitive.overwritable = rule


def _copies_in_loops(text: str, shape: tuple[int, ...]) -> int:
    """How many instructions of loop bodies copy an array of this shape."""
    copy = re.compile(rf"= \w+\[{','.join(map(str, shape))}\]\S* copy\(")
    found = 0
    for body in set(re.findall(r" while\(.*body=%?([\w.\-]+)", text)):
        match = re.search(rf"^%?{re.escape(body)} \(.*?^\}}", text, re.M | re.S)
        found += len(copy.findall(match[0])) if match else 0
    return found

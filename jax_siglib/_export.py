"""Programs that leave the process: what ``jax.export`` has to be told of the kernels."""

from jax import export

from jax_siglib._primitive import served

__all__ = ["export_checks"]


def export_checks() -> list[export.DisabledSafetyCheck]:
    """What to pass to ``jax.export.export`` as ``disabled_checks``.

    JAX refuses to export a program with a custom call that it does not know, for whoever loads the
    program later may have a library under whose name something else is computed. Here that does not
    happen: the name of a kernel ends in its version (``jax_siglib_sig_join_v1``), and what is
    computed under a name never changes; a kernel that computes something else gets a new one.

    Whoever loads the program has to ``import jax_siglib`` before calling it on a platform that has
    kernels, or XLA says "No FFI handler registered for jax_siglib_...". On other platforms the
    program is plain XLA operations and needs nothing. Checks that concern other custom calls stay.

    Returns:
        One ``jax.export.DisabledSafetyCheck`` for each kernel, in the order of their names.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jax import export
        >>> import jax_siglib
        >>> extend = jax.jit(lambda sig, step: jax_siglib.sig_join(sig, step, 2, 3))
        >>> (b,) = export.symbolic_shape("b")
        >>> exported = export.export(
        ...     extend,
        ...     platforms=("cpu", "cuda", "tpu"),
        ...     disabled_checks=jax_siglib.export_checks(),
        ... )(jax.ShapeDtypeStruct((b, 14), "float32"), jax.ShapeDtypeStruct((b, 2), "float32"))
        >>> exported.call(jnp.zeros((5, 14), "float32"), jnp.ones((5, 2), "float32")).shape
        (5, 14)
    """
    targets = sorted(frozenset().union(*served().values()))
    return [export.DisabledSafetyCheck.custom_call(target) for target in targets]

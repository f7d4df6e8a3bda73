"""The public names, and the arguments that the contract (pysiglib's) fixes."""

import inspect

import jax_siglib

PUBLIC = {
    "export_checks": "",
    "multiply_add_rate": "",
    "sig_cost": "path_shape, degree, *, dtype='float32', time_aug=False, lead_lag=False,"
    " scalar_term=False, basepoint=False, n_jobs=1",
    "sig_join_cost": "batch_shape, dimension, degree, *, dtype='float32', scalar_term=False,"
    " prepend=False, n_jobs=1",
    "sig_hvp": "path, t_path, sig_derivs, degree, *, time_aug=False, lead_lag=False, end_time=1.0,"
    " basepoint=False, n_jobs=1",
    "sig_jvp": "path, t_path, degree, *, time_aug=False, lead_lag=False, end_time=1.0,"
    " scalar_term=False, basepoint=False, n_jobs=1",
    "sig_join_jvp": "sig, displacement, t_sig, t_displacement, dimension, degree, *, prepend=False,"
    " n_jobs=1",
    "sig_join_hvp": "d_out, sig, displacement, t_sig, t_displacement, dimension, degree, *,"
    " prepend=False, n_jobs=1",
    "sig": "path, degree, *, time_aug=False, lead_lag=False, end_time=1.0, horner=True,"
    " scalar_term=False, basepoint=False, initial=None, stream=False, n_jobs=1",
    "sig_backprop": "path, sig, sig_derivs, degree, *, time_aug=False, lead_lag=False,"
    " end_time=1.0, basepoint=False, n_jobs=1",
    "sig_join": "sig, displacement, dimension, degree, *, prepend=False, n_jobs=1",
    "sig_join_backprop": "d_out, sig, displacement, dimension, degree, *, prepend=False, n_jobs=1",
    "linear_sig": "displacement, dimension, degree, *, scalar_term=False, n_jobs=1",
    "sig_combine": "sig1, sig2, dimension, degree, *, time_aug=False, lead_lag=False, n_jobs=1",
    "sig_combine_backprop": "deriv, sig1, sig2, dimension, degree, *, time_aug=False,"
    " lead_lag=False, n_jobs=1",
    "sig_combine_jvp": "sig1, sig2, t_sig1, t_sig2, dimension, degree, *, time_aug=False,"
    " lead_lag=False, n_jobs=1",
    "sig_inverse": "sig, dimension, degree, *, n_jobs=1",
    "sig_length": "dimension, degree, *, time_aug=False, lead_lag=False, scalar_term=False",
    "sig_stream": "path, degree, *, initial=None, prepend=False, scalar_term=False, n_jobs=1",
    "sig_stream_backprop": "path, stream, stream_derivs, degree, *, initial=None, prepend=False,"
    " n_jobs=1",
    "sig_windows": "path, windows, degree, *, scalar_term=False, n_jobs=1",
    "expanding_windows": "points, *, first=2, step=1",
    "sliding_windows": "points, size, step=1",
    "dyadic_windows": "points, depth",
    "SignatureStream": "signature, since_mark, dimension, degree",
    "transform_path": "path, *, time_aug=False, lead_lag=False, end_time=1.0, basepoint=False,"
    " n_jobs=1",
    "transform_path_backprop": "derivs, *, time_aug=False, lead_lag=False, end_time=1.0,"
    " basepoint=False, n_jobs=1",
}
# What has no place in forward_mode, and what is another function there.
NOT_OF_ARRAYS = {
    *("SignatureStream", "export_checks", "multiply_add_rate", "sig_cost", "sig_join_cost"),
    *("dyadic_windows", "expanding_windows", "sliding_windows"),
}
WITH_CUSTOM_VJP = {"linear_sig", "sig", "sig_join", "sig_stream", "sig_windows"}


def test_all():
    assert sorted(jax_siglib.__all__) == sorted([*PUBLIC, "__version__", "forward_mode"])
    for name in jax_siglib.__all__:
        assert hasattr(jax_siglib, name)


def test_arguments():
    """Names, order, kinds and defaults: a call written for the contract must mean the same here."""
    for name, contract in PUBLIC.items():
        parameters = inspect.signature(getattr(jax_siglib, name)).parameters.values()
        bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
        assert str(inspect.Signature(bare)) == f"({contract})", name


def test_forward_mode():
    """The same names and arguments; those without a derivative rule of their own are the same."""
    for name in jax_siglib.forward_mode.__all__:
        ordinary = getattr(jax_siglib, name)
        both = getattr(jax_siglib.forward_mode, name)
        assert str(inspect.signature(both)) == str(inspect.signature(ordinary))
        assert (both is ordinary) == (name not in WITH_CUSTOM_VJP)
    assert set(PUBLIC) - NOT_OF_ARRAYS == set(jax_siglib.forward_mode.__all__)


def test_sig_length():
    """Against the sum, and past the point where machine integers overflow."""
    for d, degree in [(1, 0), (1, 7), (2, 3), (5, 4), (300, 3)]:
        length = sum(d**k for k in range(1, degree + 1))
        assert jax_siglib.sig_length(d, degree) == length
        assert jax_siglib.sig_length(d, degree, scalar_term=True) == length + 1
        assert type(jax_siglib.sig_length(d, degree)) is int

"""The CUDA kernels on threads that run together, under ThreadSanitizer: a race here is one there.

ffi/cuda/README.md has the commands. Other tests run the same bodies one thread after another.
Nothing is compared here: it is the sanitizer that complains, and then ends with status 66.
"""

import numpy as np

from jax_siglib import _cuda_on_host as host

_RANDOM = np.random.default_rng(1)


def draw(count, *shape, dtype="float32"):
    return [_RANDOM.uniform(-1, 1, shape).astype(dtype) for _ in range(count)]


def length(d, degree):
    return sum(d**k for k in range(1, degree + 1))


def joins(d, degree, batch, prepend):
    entries = length(d, degree) + prepend  # with the scalar term, or without
    sig, g, t_sig = draw(3, batch, entries)
    v, t_v = draw(2, batch, d)
    static = d, degree, prepend, 1
    out, ct_v = np.empty_like(sig), np.empty_like(v)
    host.sig_join(sig, v, *static, out)
    host.sig_join_jvp(sig, v, t_sig, t_v, *static, out)
    host.sig_join_backprop(g, sig, v, *static, out, ct_v)
    host.sig_join_hvp(g, sig, v, t_sig, t_v, *static, out, ct_v)
    host.sig_join(sig, v, *static, sig)  # in place
    host.sig_join_backprop(g, sig, v, *static, g, ct_v)


def paths(d, degree, points, batch, dtype="float32"):
    path, t_path = draw(2, batch, points, d, dtype=dtype)
    sig, g = draw(2, batch, length(d, degree), dtype=dtype)
    host.sig(path, degree, 1, sig)
    host.sig_jvp(path, t_path, degree, 1, np.empty_like(sig))
    host.sig_backprop(path, sig, g, degree, 1, np.empty_like(path))
    host.sig_hvp(g, path, t_path, degree, 1, np.empty_like(path))


def streams(d, degree, points, batch, prepend):
    path, t_path = draw(2, batch, points, d)
    initial, t_initial = draw(2, batch, length(d, degree))
    (g,) = draw(1, batch, points - 1, length(d, degree))
    rows, static = np.empty_like(g), (degree, prepend, 1)
    lower, t_lower, ct_lower = draw(3, batch, length(d, degree - 1))
    host.sig_stream(initial, path, *static, rows)
    below = np.ascontiguousarray(rows[..., : length(d, degree - 1)])
    host.sig_stream_jvp(lower, path, t_initial, t_path, *static, np.empty_like(rows))
    host.sig_stream_backprop(
        g, lower, path, below, *static, np.empty_like(initial), np.empty_like(path)
    )
    host.sig_stream_hvp(g, lower, path, t_lower, t_path, *static, ct_lower, np.empty_like(path))


def products(d, degree, batch):
    sig1, sig2, g, out1, out2 = draw(5, batch, length(d, degree))
    host.sig_combine(sig1, sig2, d, degree, 1, out1)
    host.sig_combine_backprop(g, sig1, sig2, d, degree, 1, out1, out2)
    host.sig_inverse(sig1, d, degree, 1, False, out1)
    host.sig_combine(sig1, sig2, d, degree, 1, sig1)  # in place


def main():
    for small in (False, True):  # whole in a block, and cut up
        host.configure(True, 1 << 20, 0, small)
        for prepend in (False, True):
            for size in ((5, 3, 7), (3, 4, 3), (2, 7, 2), (1, 4, 2), (4, 2, 5)):
                joins(*size, prepend)
            streams(3, 3, 5, 3, prepend)
            streams(2, 5, 4, 2, prepend)
        for size in ((5, 3, 12, 3), (2, 6, 9, 2), (8, 3, 10, 2), (9, 2, 5, 2), (3, 4, 40, 2)):
            paths(*size)
        paths(4, 4, 9, 2, "float64")
        for size in ((3, 4, 3), (2, 7, 2)):
            products(*size)
        host.configure(True, 1 << 20, 0, small, False)  # paths in tiles, streams as joins
        paths(3, 4, 9, 2)
        streams(3, 3, 4, 2, False)
        print("small" if small else "whole", "done", flush=True)
    host.configure(True, 1 << 20, 0, False)
    host.as_if(1, 1 << 20)  # as many in a block as it has room for, the last one not full
    for prepend in (False, True):
        for size in ((2, 3, 200), (2, 6, 70), (3, 4, 20), (5, 3, 30), (8, 3, 20), (10, 2, 70)):
            joins(*size, prepend)
    print("crowded", "done", flush=True)


if __name__ == "__main__":
    main()

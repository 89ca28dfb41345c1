"""Small ReLU networks and every measure of them, in plain NumPy and float64, by loops and whole matrices."""

from typing import NamedTuple

import jax
import numpy as np

BATCHES, PROBES, DRAWS, BISECTIONS = 8, 32, 6, 10
DAMPING, FLOOR = 1e-3, 1e-3


class Reference(NamedTuple):
    """A network of the given widths on given examples; its weights are one vector, bias before kernel."""

    widths: tuple[int, ...]
    inputs: np.ndarray
    labels: np.ndarray

    def layers(self, weights):
        """(bias, kernel) of every layer."""
        found, start = [], 0
        for fan_in, fan_out in zip(self.widths[:-1], self.widths[1:], strict=True):
            split, end = start + fan_out, start + fan_out + fan_in * fan_out
            found.append((weights[start:split], weights[split:end].reshape(fan_in, fan_out)))
            start = end
        return found

    @property
    def size(self):
        return sum(
            (fan_in + 1) * fan_out for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False)
        )

    def logits(self, weights, inputs=None):
        x = self.inputs if inputs is None else inputs
        *hidden, (bias, kernel) = self.layers(weights)
        for layer_bias, layer_kernel in hidden:
            x = np.maximum(x @ layer_kernel + layer_bias, 0)
        return x @ kernel + bias

    def jacobian(self, weights):
        """∂ logits / ∂ weights: examples × classes × weights."""
        *hidden, last = self.layers(weights)
        entering = [self.inputs]
        for bias, kernel in hidden:
            entering.append(np.maximum(entering[-1] @ kernel + bias, 0))
        examples, classes = len(self.inputs), self.widths[-1]
        slope = np.broadcast_to(np.eye(classes), (examples, classes, classes))  # of the logits, at the layer
        parts = []
        for (_, kernel), x in zip(reversed((*hidden, last)), reversed(entering), strict=True):
            outer = np.einsum("ni,nco->ncio", x, slope).reshape(examples, classes, -1)
            parts = [slope, outer, *parts]
            slope = np.einsum("nco,io->nci", slope, kernel) * (x > 0)[:, None, :]
        return np.concatenate(parts, axis=2)

    def probabilities(self, weights):
        logits = self.logits(weights)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def gradients(self, weights):
        """Of every example's cross-entropy."""
        residuals = self.probabilities(weights) - np.eye(self.widths[-1])[self.labels]
        return np.einsum("nc,ncw->nw", residuals, self.jacobian(weights))

    def hessian(self, weights):
        """By central differences of the gradient."""
        step = 1e-6
        rows = [
            self.gradients(weights + step * unit).mean(0) - self.gradients(weights - step * unit).mean(0)
            for unit in np.eye(len(weights))
        ]
        return np.array(rows) / (2 * step)

    def fisher(self, weights):
        jacobian, total = self.jacobian(weights), 0
        for p, slope in zip(self.probabilities(weights), jacobian, strict=True):
            total = total + slope.T @ (np.diag(p) - np.outer(p, p)) @ slope
        return total / len(jacobian)

    def error(self, weights):
        return np.mean(self.logits(weights).argmax(axis=1) != self.labels)

    def trained(self, seed, steps=100, rate=0.1):
        """Weights before and after gradient descent."""
        rng = np.random.default_rng(seed)
        initial = np.concatenate(
            [
                part
                for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False)
                for part in (np.zeros(fan_out), rng.normal(size=fan_in * fan_out) * np.sqrt(2 / fan_in))
            ]
        )
        weights = initial
        for _ in range(steps):
            weights = weights - rate * self.gradients(weights).mean(axis=0)
        return initial, weights


def searched(reference, weights, normals, by_magnitude):
    low, high = np.log(1e-4), np.log(10)
    for _ in range(BISECTIONS):
        centre = (low + high) / 2
        sigma = np.exp(centre)
        deviation = np.sqrt(sigma**2 * weights**2 + FLOOR**2) if by_magnitude else sigma
        raised = np.mean([reference.error(weights + deviation * z) for z in normals])
        low, high = (low, centre) if raised > reference.error(weights) + 0.1 else (centre, high)
    return np.exp((low + high) / 2)


def normals(key, size):
    return np.asarray(jax.random.normal(key, (DRAWS, size), float))


def measures(reference, weights, initial, twin, keys):
    """By name; `keys` is family → key, of what is drawn."""
    kernels = [kernel for _, kernel in reference.layers(weights)]
    moved = [kernel for _, kernel in reference.layers(weights - initial)]
    logits, y, n, d = reference.logits(weights), reference.labels, len(reference.labels), len(kernels)
    margins = np.array(
        [row[label] - np.delete(row, label).max() for row, label in zip(logits, y, strict=True)]
    )
    gamma = np.quantile(margins, 0.1)
    values = {"parameters": len(weights), "margin_10": gamma, "margin_50": np.median(margins)}
    values["inverse_square_margin"] = gamma**-2

    norms = {"spectral": lambda matrix: np.linalg.norm(matrix, 2), "frobenius": np.linalg.norm}
    for name, norm in norms.items():
        product = np.prod([norm(kernel) ** 2 for kernel in kernels])
        values |= {
            f"log_product_{name}": np.log(product),
            f"log_product_{name}_over_margin": np.log(product / gamma**2),
            f"log_sum_{name}": np.log(d * product ** (1 / d)),
            f"log_sum_{name}_over_margin": np.log(d * (product / gamma**2) ** (1 / d)),
            f"log_product_{name}_distance": np.log(np.prod([norm(kernel) ** 2 for kernel in moved])),
            f"log_sum_{name}_distance": np.log(np.sum([norm(kernel) ** 2 for kernel in moved])),
        }
    spectral = np.array([np.linalg.norm(kernel, 2) for kernel in kernels]) ** 2
    frobenius = np.array([np.sum(kernel**2) for kernel in kernels])
    distances = np.array([np.sum(kernel**2) for kernel in moved])
    values |= {
        "parameter_norm": frobenius.sum(),
        "frobenius_over_spectral": np.sum(frobenius / spectral),
        "log_spectral_bound_origin": np.log(spectral.prod() / gamma**2 * np.sum(frobenius / spectral)),
        "log_spectral_bound_init": np.log(spectral.prod() / gamma**2 * np.sum(distances / spectral)),
    }

    values["path_norm"] = reference.logits(weights**2, np.ones((1, reference.widths[0]))).sum()
    values["path_norm_over_margin"] = values["path_norm"] / gamma**2

    draw_keys = jax.random.split(keys["pac_bayes"])
    sigma = searched(reference, weights, normals(draw_keys[0], len(weights)), by_magnitude=False)
    scaled = searched(reference, weights, normals(draw_keys[1], len(weights)), by_magnitude=True)
    variances = FLOOR**2 + scaled**2 * (weights - initial) ** 2
    values |= {"flatness": sigma, "inverse_square_flatness": 1 / sigma**2}
    values["inverse_square_magnitude_flatness"] = 1 / scaled**2
    for name, distance in {"init": weights - initial, "origin": weights}.items():
        square = distance @ distance
        prior = FLOOR**2 + (scaled**2 + 1) * square / len(weights)
        values |= {
            f"pac_bayes_{name}": square / (4 * sigma**2) + np.log(n / sigma) + 10,
            f"pac_bayes_magnitude_{name}": np.sum(np.log(prior / variances)) / 4 + np.log(n / scaled) + 10,
            f"pac_bayes_weighted_{name}": np.sum(distance**2 / variances) / 4 + np.log(n / scaled) + 10,
        }

    hessian, fisher = reference.hessian(weights), reference.fisher(weights)
    probe_keys = jax.random.split(jax.random.split(keys["sharpness"])[1], PROBES)
    signs = [np.asarray(jax.random.rademacher(key, (len(weights),), float)) for key in probe_keys]
    traces = {
        name: np.mean([z @ matrix @ z for z in signs])
        for name, matrix in {"hessian": hessian, "fisher": fisher}.items()
    }
    values |= {
        "hessian_top": np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1],
        "hessian_trace": traces["hessian"],
        "hessian_trace_per_example": traces["hessian"] / n,
        "fisher_top": np.linalg.eigvalsh(fisher)[-1],
        "fisher_trace": traces["fisher"],
    }

    gradients = reference.gradients(weights)
    second = gradients.T @ gradients / n
    damped = fisher + DAMPING * np.eye(len(weights))
    values |= {
        "takeuchi_exact": np.trace(np.linalg.solve(damped, second)),
        "takeuchi_diagonal": np.sum(np.diag(second) / np.diag(damped)),
        "takeuchi_trace_ratio": np.trace(second) / (np.trace(fisher) + DAMPING),
    }

    size = n // BATCHES
    batches = gradients[: size * BATCHES].reshape(BATCHES, size, -1).mean(axis=1)
    mean = batches.mean(axis=0)
    gaps, used = batches - mean, size * BATCHES
    deviations = np.sqrt(used / (BATCHES - 1) * np.mean(gaps**2, axis=0))
    noise = signal = 0
    for place, (bias, kernel) in enumerate(reference.layers(mean)):
        bias_deviations, _ = reference.layers(deviations)[place]
        matrices = [reference.layers(gap)[place][1] for gap in gaps]
        short = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in matrices]
        covariance = used / (BATCHES - 1) * np.mean([matrix @ matrix.T for matrix in short], axis=0)
        roots = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0))
        noise += np.sum(bias_deviations) + np.sum(roots)
        signal += np.sum(np.abs(bias)) + np.linalg.norm(kernel, "nuc")
    cosines = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for i, a in enumerate(batches)
        for j, b in enumerate(batches)
        if i != j
    ]
    values |= {
        "gradient_norm": np.linalg.norm(mean),
        "euclidean_noise_scale": np.sum(deviations**2) / (mean @ mean),
        "sign_noise_scale": np.sum(deviations) ** 2 / np.sum(np.abs(mean)) ** 2,
        "spectral_noise_scale": noise**2 / signal**2,
        "gradient_cosine": np.mean(cosines),
    }

    p = reference.probabilities(weights)
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == y
    error = 0.0
    for place in range(15):
        members = (confidence > place / 15) & (confidence <= (place + 1) / 15)
        error += abs(np.sum(confidence[members] - correct[members])) / n
    values |= {
        "calibration_error": error,
        "confidence": confidence.mean(),
        "entropy": -np.mean(np.sum(p * np.log(p), axis=1)),
        "negative_log_likelihood": -np.mean(np.log(p[np.arange(n), y])),
        "disagreement": np.mean(logits.argmax(axis=1) != reference.logits(twin).argmax(axis=1)),
    }
    return values

"""By study, fields of its config with words that no study could be made with, each wrong whatever else is."""

HUGE = ["1000000000000"]
COUNT = [["0"], ["-1"], HUGE]
SEED = [["-1"], ["4294967296"]]
CONFIDENCE = [["0"], ["1"], ["95"], ["nan"], ["0.9999999999999999"]]
BELOW_ONE = [["1"], ["-0.1"], ["nan"], ["inf"]]
POSITIVE = [["0"], ["-1"], ["nan"], ["inf"], ["1e-320"], ["1e300"]]
NAMES = [["nonesuch"], ["∞"]]
METRIC = [["train_los"], ["[/red]"], [""]]
OPTIONS = [["model", "nonesuch"], ["nonesuch", "1"], ["model", "nan"]]
DECAYS = [[], ["1"], ["0", "0"], ["nan"]]
FIRST_RATES = [["2"], ["-1"], HUGE]
SIZES = [["8", "0", "16"], [], ["16", "8", "4"], ["8", "8", "16"], ["8", "16", *HUGE]]
COMMON = {"seed": SEED, "confidence": CONFIDENCE}

MISTAKES = {
    "shape_search": {
        **COMMON,
        "families": [*NAMES, ["rex", "rex"]],
        "metric": [*METRIC, ["best_train_loss"]],
        "batch_size": [*COUNT, ["1438"]],
        "num_steps": COUNT,
        "learning_rates": [["0", "1"], ["1", "0.5"], ["1", "1"], ["nan", "1"], ["1", "inf"], ["1e-320", "1"]],
        "clip_norm": POSITIVE,
        "average_decay": BELOW_ONE,
        "candidates": COUNT,
        "keep_fraction": [["0"], ["1.5"], ["nan"]],
        "rung_horizons": [["0.5"], ["2"], ["nan"], []],
        "checked": [["-1"], HUGE],
        "vectorize": COUNT,
        "chunk_runs": COUNT,
        "checkpoint_steps": [["-1"], HUGE],
        "checkpoint_seconds": [["-1"], ["nan"]],
        "devices": [["0"], ["9"], HUGE],
    },
    "shape_dependence": {
        **COMMON,
        "values": [["a", "b"], ["0.5", "many"]],
        "families": [*NAMES, ["rex", "rex"]],
        "batch_size": COUNT,
        "select_replicates": COUNT,
        "checkpoint_steps": [["-1"], HUGE],
    },
    "optimal_schedule": {
        **COMMON,
        "dimension": [["1"], ["-3"], HUGE],
        "exponent": [["-1"], ["nan"], ["inf"], ["1e300"]],
        "horizons": [["1"], HUGE, ["50", "50"], ["100"]],
        "momenta": [*BELOW_ONE, ["0"], ["0.5", "0.5"]],
        "families": [*NAMES, [], ["rex", "rex"]],
        "start_scales": [*POSITIVE, [], ["1", "1"]],
        "fresh_kernels": [["1"], HUGE],
        "devices": [["0"], ["9"]],
    },
    "loss_prediction": {
        **COMMON,
        "optimizer": NAMES,
        "metric": METRIC,
        "batch_size": [*COUNT, ["65"]],
        "largest_rate": POSITIVE,
        "smallest_share": CONFIDENCE[:-1],
        "curve_points": [["1"], HUGE],
        "families": [*NAMES, [], ["rex", "rex"]],
        "fit_replicates": COUNT,
        "checkpoint_steps": [["-1"], HUGE],
    },
    "search_efficiency": {
        **COMMON,
        "families": [*NAMES, [], ["rex", "rex"]],
        "learning_rates": [["0", "1"], ["1", "0.5"], ["nan", "1"]],
        "seeds": [["1"], HUGE],
        "tolerance": CONFIDENCE[:-1],
        "budgets": [
            [],
            ["random", "9"],
            ["random", "9", "trust_region", "0"],
            ["random", "x", "trust_region", "9"],
        ],
        "exponent": [["-1"], ["nan"], ["inf"]],
        "polished": COUNT,
    },
    "optimizer_comparison": {
        **COMMON,
        "optimizers": [*NAMES, ["muon", "muon"]],
        "workload_options": OPTIONS,
        "warmup": BELOW_ONE,
        "batch_size": COUNT,
        "first_rates": FIRST_RATES,
        "decays": DECAYS,
        "screen_replicates": COUNT,
    },
    "critical_batch_size": {
        **COMMON,
        "metric": METRIC,
        "target": [["nan"], ["inf"], ["-inf"]],
        "momenta": [*BELOW_ONE, ["0.5", "0.5"]],
        "decays": [*POSITIVE, ["0.5", "0.5"]],
        "batch_sizes": [*SIZES, ["8", "16", "1438"]],
        "least_steps": COUNT,
        "max_samples": [["-1"], HUGE],
        "evaluation_ratio": [["1"], ["nan"], ["inf"], ["1e300"]],
        "noise_parts": [["1"], ["0"], HUGE],
    },
    "adaptive_batch_size": {
        **COMMON,
        "optimizers": [*NAMES, [], ["muon", "muon"]],
        "metric": METRIC,
        "euclidean_theta": CONFIDENCE[:-1],
        "warmup": BELOW_ONE,
        "noise_decay": BELOW_ONE,
        "measure_every": COUNT,
        "first_rates": FIRST_RATES,
        "decays": DECAYS,
        "timing_repeats": COUNT,
    },
    "local_steps": {
        **COMMON,
        "metric": METRIC,
        "methods": [*NAMES, [], ["diloco", "diloco"]],
        "workers": [[], ["0"], ["3"], ["4", "4"], ["128"]],
        "intervals": [*SIZES, ["257"]],
        "mixes": POSITIVE,
        "mix_probability": CONFIDENCE[:-1],
        "first_rates": FIRST_RATES,
        "confirm_replicates": COUNT,
    },
    "layer_geometry": {
        **COMMON,
        "metric": METRIC,
        "parts": [["1"], ["0"], HUGE],
        "learning_rate": POSITIVE,
        "decay": BELOW_ONE,
        "tau": [["-1"], ["nan"], ["inf"]],
        "replicates": [["1"], HUGE],
        "first_rates": FIRST_RATES,
        "decays": DECAYS,
    },
    "path_geometry": {
        **COMMON,
        "metric": METRIC,
        "learning_rates": [["1"], [], ["1", "1", "1", "0"], ["1", "1", "1", "nan"]],
        "batch_sizes": [*SIZES, ["16"], ["16", "1438"]],
        "probe_every": [*COUNT, ["200"]],
        "families": [*NAMES, ["rex", "rex"]],
        "base_learning_rates": [["0", "1"], ["1", "0.5"], ["nan", "1"]],
        "top": COUNT,
    },
    "generalization": {
        **COMMON,
        "widths": [[], ["0"], ["4", "4"], HUGE],
        "optimizers": [*NAMES, [], ["adam", "adam"]],
        "rates": [["0"], HUGE],
        "validation_size": [["0"], ["1437"], HUGE],
        "num_steps": [["4"], ["0"], ["12"], HUGE],
        "damping": [["-1"], ["nan"], ["inf"]],
        "replicates": COUNT,
    },
}

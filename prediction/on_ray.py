"""Shards on a Ray cluster: a pool of actors, each with a model of its own, and `annotate_shard` mapped over the inputs.

Ray runs a shard again whose worker or node died; the shard goes on with the pieces that are there (see shards.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from mosaic_ner.data_builders.extras import require
from mosaic_ner.modeling.label_space import UserError

from .inputs import Source
from .shards import Job, annotate_shard


class RayError(UserError):
    """The cluster can't be had."""


class Annotator:
    """The actor: a batch of one source → the shard's receipt, both as JSON."""

    def __init__(self, job: str):
        values = json.loads(job)
        self.job = Job(**values | {"types": tuple(values["types"])})
        self.tagger = self.job.tagger()

    def __call__(self, batch: dict) -> dict:
        values = json.loads(str(batch["source"][0]))
        source = Source(**values | {"paths": tuple(values["paths"])})
        try:
            result = annotate_shard(source, self.job, self.tagger)
        except UserError as error:
            result = {"ended": str(error)}
        return {"source": batch["source"], "result": [json.dumps(result)]}


def annotate_on_ray(
    todo: list[Source], job: Job, workers: int, gpus: float = 0, address: str | None = None
) -> Iterator[tuple[Source, dict | None]]:
    """(source, its result) as they come.

    Args:
        workers: models that work at the same time.
        gpus: of each.
        address: of the cluster, "auto" for the one that this computer is in; default: one of this computer alone, unless
            RAY_ADDRESS names one.
    Raises:
        ExtraError: ray is missing. RayError: no cluster, or none with as much.
        UserError: nothing more can be written.
    """
    ray = require("scale", "--engine ray", "ray")
    data = require("scale", "--engine ray", "ray.data")
    if not todo:
        return
    began = not ray.is_initialized()
    try:
        ray.init(
            address=address, ignore_reinit_error=True, log_to_driver=False, include_dashboard=None if address else False
        )
    except (ConnectionError, ValueError) as error:
        raise RayError(
            f"--address {address!r}: no Ray cluster is there ({error}); start one with `ray start`"
        ) from error
    try:
        there = ray.cluster_resources()
        if there.get("CPU", 0) < 1 or there.get("GPU", 0) < gpus:
            raise RayError(
                f"a worker needs 1 CPU and {gpus:g} GPUs; the cluster has {there.get('CPU', 0):g} and "
                f"{there.get('GPU', 0):g}"
            )
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        rows = data.from_items(
            [{"source": json.dumps(asdict(source))} for source in todo], override_num_blocks=len(todo)
        )
        results = rows.map_batches(
            Annotator,
            fn_constructor_kwargs={"job": json.dumps(asdict(job))},
            batch_size=1,
            # A pool that can shrink gives its place to an actor that starts again after its node was lost.
            compute=data.ActorPoolStrategy(
                min_size=1, max_size=workers, initial_size=workers, max_tasks_in_flight_per_actor=1
            ),
            num_cpus=1,
            num_gpus=gpus or None,
        )
        by_text = {json.dumps(asdict(source)): source for source in todo}
        for row in results.iter_rows():
            result = json.loads(row["result"])
            if result and "ended" in result:
                raise UserError(result["ended"])
            yield by_text[row["source"]], result
    finally:
        if began:
            ray.shutdown()

"""Functions in several processes of one group, which import this."""

import io
import multiprocessing
import os
import queue
import socket

import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(rank, ranks, port):
    """What torchrun tells a process; Lightning then starts none itself."""
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "tests",
    }


def together(function, *arguments, ranks=2, seconds=400):
    """Call `function(*arguments)` in each of several processes, and return what each returns.

    Results are saved and loaded as tensors and plain values. An error in one ends all.
    """
    context = multiprocessing.get_context("spawn")
    told, port = context.Queue(), free_port()
    processes = [
        context.Process(target=_run, args=(told, rank, ranks, port, function, arguments))
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    found = {}
    try:
        while len(found) < ranks:
            rank, error, result = told.get(timeout=seconds)
            if error:
                raise RuntimeError(f"process {rank}: {error}")
            found[rank] = torch.load(io.BytesIO(result), weights_only=False)
        for process in processes:
            process.join(30)
    except queue.Empty:
        raise TimeoutError(
            f"only processes {sorted(found)} of {ranks} have come to an end"
        ) from None
    finally:
        for process in processes:
            process.kill()
    return [found[rank] for rank in range(ranks)]


def _run(told, rank, ranks, port, function, arguments):
    os.environ.update(environment(rank, ranks, port))
    try:
        result = io.BytesIO()
        torch.save(function(*arguments), result)
        told.put((rank, "", result.getvalue()))
    except BaseException as error:
        import traceback

        told.put((rank, f"{error!r}\n{traceback.format_exc()}", b""))
    finally:
        told.close()
        told.join_thread()
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()

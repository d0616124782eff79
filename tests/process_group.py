"""How a test's processes part; a module of its own, since other processes must import it."""

import torch
from lightning.pytorch import Callback


class LeaveGroup(Callback):
    """Ends the process group before its processes end, which otherwise may abort on the way out."""

    def teardown(self, trainer, pl_module, stage):
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()

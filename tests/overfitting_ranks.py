"""What the processes of a DDP run saw; a module of its own, since they must import it."""

import torch.distributed
from lightning.pytorch import Callback


class RanksAgree(Callback):
    """Fails unless all processes logged the same, froze the same and hold the same probes."""

    def __init__(self, detector):
        self.detector = detector
        self.seen = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            logged = trainer.callback_metrics.items()
            self.seen.append({k: v.item() for k, v in logged if k.startswith("overfit/")})

    def on_train_end(self, trainer, pl_module):
        state = self.detector.state_dict()
        probes = [tensor.tolist() for batch in state["probes"]["train"] for tensor in batch]
        mine = (self.seen, self.detector.frozen, probes)
        everyone = [None] * trainer.world_size
        torch.distributed.all_gather_object(everyone, mine)
        assert everyone[0] == everyone[1] and len(self.seen) > 1
        assert self.detector.frozen[0] == "classical_path"

"""A small recipe for federations in tests, and messages that are looked at on their way."""

from hybridlit.federated import run_federation, simulation
from hybridlit.internals.flower import from_wire


def recipe(template="SequentialHybrid", federated=None, model=None, data=None, trainer=None):
    arguments = {"input_dim": 4, "output_dim": 3, "n_modes": 4, "n_photons": 2}
    arguments |= {"quantum_dim": 2} if template == "SequentialHybrid" else {}
    return {
        "trainer": {"accelerator": "cpu", **(trainer or {})},
        "model": {"class_path": template, "init_args": {**arguments, **(model or {})}},
        "data": {
            "class_path": "SklearnDataModule",
            "init_args": {"dataset": "iris", "batch_size": 16, **(data or {})},
        },
        "federated": {"clients": 3, "rounds": 2, "shares": [5, 3, 2], **(federated or {})},
    }


def run(settings, **options):
    return run_federation(settings, say=lambda line: None, **options)


class Wire:
    """Keeps all messages that leave the server or a client, as bytes and read."""

    def __init__(self, monkeypatch):
        self.sent = []
        grid = simulation.InProcessGrid
        monkeypatch.setattr(
            simulation, "InProcessGrid", lambda *args: grid(*args, on_wire=self.sent.append)
        )

    @property
    def messages(self):
        return [from_wire(content) for content in self.sent]


def dying(monkeypatch, when):
    """Let the apps of clients raise, return what is no number, or take long, at (client, round)."""
    made = simulation.client_app_of

    def client_app_of(*given):
        app = made(*given)

        def call(message, context):
            number = message.content.config_records["config"]["server-round"]
            return when(app, message, context, (context.node_id, number))

        return call

    monkeypatch.setattr(simulation, "client_app_of", client_app_of)

"""The section `federated:` of a recipe: what is wrong is said by name."""

import pytest

from hybridlit.federated import FederatedSettings
from hybridlit.federated.settings import federated_settings


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"clients": 1}, ValueError, "clients must be at least 2"),
        ({"rounds": 0}, ValueError, "rounds must be at least 1"),
        ({"local_epochs": 1.5}, TypeError, "local_epochs must be an integer"),
        ({"strategy": "fedavgg"}, ValueError, "strategy must be one of"),
        ({"strategy": "fedprox"}, ValueError, "proximal_mu must be given with"),
        ({"proximal_mu": 0.1}, ValueError, "with no other, got proximal_mu=0.1 with 'fedavg'"),
        ({"strategy": "fedprox", "proximal_mu": 0.0}, ValueError, "proximal_mu must be"),
        ({"local": "quantum"}, ValueError, "local must be one of"),
        ({"clients": 3, "shares": [1, 2]}, ValueError, "one entry for each of the 3 clients"),
        ({"clients": 2, "shares": [1, 0]}, ValueError, "each of shares must be above 0"),
        ({"concentration": 0.0}, ValueError, "concentration must be above 0"),
        ({"min_fraction": 0.0}, ValueError, "min_fraction must be above 0"),
        ({"min_fraction": 1.1}, ValueError, "min_fraction must be"),
        ({"timeout": 0}, ValueError, "timeout must be above 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"changes": {4: {"model.n_photons": 1}}, "local": "photonic"}, ValueError, "at most 3"),
        ({"changes": {1: {"model.n_photons": 1}}}, ValueError, "local=None leaves nothing"),
        ({"changes": {1: {"data.seed": 1}}}, ValueError, "'data.seed': .* data of its own needs a"),
        ({"changes": {1: {"data.init_args.val_fraction": 0.1}}}, ValueError, "'data.val_fraction'"),
        ({"changes": {1: {"data": {}}}}, ValueError, "cannot have 'data'"),
        ({"changes": {1: {"federated.seed": 1}}}, ValueError, "are those of all its clients"),
        ({"changes": {1: {"trainer.max_epochs": 9}}}, ValueError, "local_epochs epochs in a round"),
        ({"noise": {4: "ascella"}}, ValueError, "each key of noise must be at most 3"),
        ({"noise": {1: "ascela"}}, ValueError, "must be one of .*ascella"),
        (
            {"noise": {1: None}},
            ValueError,
            r"noise\[1\] must be some, got None: leave the client out",
        ),
    ],
)
def test_each_wrong_setting_is_named(given, error, said):
    with pytest.raises(error, match=said):
        FederatedSettings(**given)


def test_clients_may_differ_in_batches_and_in_the_trainer():
    own = {"data.batch_size": 8, "data.init_args.num_workers": 1, "trainer.gradient_clip_val": 1.0}
    assert FederatedSettings(changes={1: own}).changes == {1: own}


def test_a_section_is_read_and_what_is_given_goes_first():
    found = federated_settings({"federated": {"clients": 6, "rounds": 9}}, rounds=2, local=None)
    assert (found.clients, found.rounds, found.local) == (6, 2, None)
    assert federated_settings({}) == FederatedSettings()
    with pytest.raises(ValueError, match=r"no 'round' \(did you mean 'rounds'\?\)"):
        federated_settings({"federated": {"round": 3}})
    with pytest.raises(ValueError, match=r"the recipe has the budget '1GiB'.*leave it out"):
        federated_settings({"federated": {}, "budget": "1GiB"})
    with pytest.raises(ValueError, match="must be a section"):
        federated_settings({"federated": 3})


@pytest.mark.parametrize(
    ("clients", "share", "fewest"),
    [(4, 0.5, 2), (5, 0.5, 3), (10, 0.3, 3), (4, 1.0, 4), (3, 0.01, 1)],
)
def test_a_round_needs_a_share_of_the_clients(clients, share, fewest):
    assert FederatedSettings(clients=clients, min_fraction=share).fewest == fewest

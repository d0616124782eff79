from jsonargparse import ArgumentParser

from hybridlit.internals.jsonargparse import option_names


def test_all_options_of_a_parser_and_its_verbs_are_known():
    parser, inner = ArgumentParser(), ArgumentParser()
    inner.add_argument("--trainer.max_epochs", type=int)
    parser.add_argument("--config", "-c")
    parser.add_subcommands().add_subcommand("fit", inner)
    assert {"--config", "-c", "--help", "--trainer.max_epochs"} <= set(option_names(parser))
    assert option_names(inner)[-1] == "--trainer.max_epochs"

import warnings

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities.seed import isolate_rng

from hybridlit.cli import main
from hybridlit.data import ArrayDataModule, ResumableLoader


def rows(count=100, features=3, classes=4, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(5, 3, (count, features))
    return x, generator.integers(0, classes, count)


def parts(module):
    return [part for part in (module.train, module.val, module.test) if part is not None]


def test_the_splits_share_no_row_and_lose_none():
    x = np.arange(97.0)[:, None]
    module = ArrayDataModule(x, np.zeros(97, dtype=int), scaling=None)
    seen = torch.cat([inputs[:, 0] for inputs, _ in parts(module)])
    assert sorted(seen.tolist()) == x[:, 0].tolist()
    assert [len(inputs) for inputs, _ in parts(module)] == [97 - 19 - 19, 19, 19]


def test_classes_keep_their_shares():
    y = np.repeat([0, 1, 2], [100, 50, 10])
    module = ArrayDataModule(np.random.default_rng(0).normal(size=(160, 2)), y)
    assert [torch.bincount(t).tolist() for _, t in parts(module)] == [
        [60, 30, 6],
        [20, 10, 2],
        [20, 10, 2],
    ]


@pytest.mark.parametrize("counts", [[7, 5, 3], [1, 1, 40], [2] * 20])
def test_stratified_sizes_are_exact_and_shares_off_by_one_at_most(counts):
    y = np.repeat(range(len(counts)), counts)
    total = len(y)
    module = ArrayDataModule(np.arange(total)[:, None], y, val_fraction=0.25, test_fraction=0.25)
    assert len(module.test[1]) == len(module.val[1]) == round(total / 4)
    share = torch.bincount(module.test[1], minlength=len(counts))
    assert all(abs(got - n / 4) < 1 for got, n in zip(share.tolist(), counts, strict=True))


def test_the_seed_decides_the_split():
    x, y = rows()
    one, same, other = (ArrayDataModule(x, y, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.test[0], same.test[0])
    assert not torch.equal(one.test[0], other.test[0])


def test_test_rows_do_not_depend_on_the_validation_fraction():
    x, y = rows()
    few = ArrayDataModule(x, y, val_fraction=0.1, scaling=None)
    many = ArrayDataModule(x, y, val_fraction=0.4, scaling=None)
    assert torch.equal(few.test[0], many.test[0])


def test_calibration_rows_are_of_no_other_split_and_move_no_test_row():
    x = np.arange(90.0)[:, None]
    y = np.repeat([0, 1, 2], 30)
    without = ArrayDataModule(x, y, scaling=None)
    assert without.calibration is None and without.calibration_dataloader() == []
    module = ArrayDataModule(x, y, scaling=None, calibration_fraction=0.2)
    assert torch.equal(module.test[0], without.test[0])
    assert torch.equal(module.val[0], without.val[0])
    assert torch.bincount(module.calibration[1]).tolist() == [6, 6, 6]
    seen = torch.cat([part[0][:, 0] for part in (*parts(module), module.calibration)])
    assert sorted(seen.tolist()) == x[:, 0].tolist()
    batch = torch.cat([inputs for inputs, _ in module.calibration_dataloader()])
    assert torch.equal(batch, module.calibration[0])
    sizes = {"train": 36, "val": 18, "test": 18, "calibration": 18}
    assert module.rows_by_split() == module.preprocessing.facts["rows"] == sizes
    with pytest.raises(
        ValueError, match=r"val_fraction \+ test_fraction \+ calibration_fraction must"
    ):
        ArrayDataModule(x, y, calibration_fraction=0.6)


def test_a_test_seed_alone_decides_the_test_rows():
    x = np.arange(90.0)[:, None]
    y = np.repeat([0, 1, 2], 30)
    usual = ArrayDataModule(x, y, scaling=None, seed=3)
    same = ArrayDataModule(x, y, scaling=None, seed=3, test_seed=3)
    assert torch.equal(same.test[0], usual.test[0])
    first, second = (ArrayDataModule(x, y, scaling=None, seed=s, test_seed=3) for s in (0, 1))
    assert torch.equal(first.test[0], usual.test[0])
    assert torch.equal(second.test[0], usual.test[0])
    assert not torch.equal(first.val[0], second.val[0])
    assert torch.bincount(first.val[1]).tolist() == [6, 6, 6]
    seen = torch.cat([part[0][:, 0] for part in parts(first)])
    assert sorted(seen.tolist()) == x[:, 0].tolist()


@pytest.mark.parametrize("given", [False, True])
def test_scaling_is_fitted_on_training_rows_only(given):
    x, y = rows()
    shifted = (x + 100, y)
    options = dict(val=shifted, test=shifted) if given else {}
    module = ArrayDataModule(x, y, **options)
    train = module.train[0].double()
    assert torch.allclose(train.mean(0), torch.zeros(3).double(), atol=1e-6)
    assert torch.allclose(train.std(0, correction=0), torch.ones(3).double(), atol=1e-6)
    if given:
        assert (module.test[0] > 20).all()
        expected = (x + 100 - x.mean(0)) / x.std(0)
        np.testing.assert_allclose(module.test[0], expected, rtol=1e-4)
        np.testing.assert_allclose(module.scale(x + 100), expected, rtol=1e-4)
    else:
        assert not torch.allclose(module.test[0].mean(0), torch.zeros(3), atol=1e-6)


def test_minmax_and_no_scaling():
    x, y = rows()
    module = ArrayDataModule(x, y, scaling="minmax")
    assert torch.equal(module.train[0].amin(0), torch.zeros(3))
    assert torch.equal(module.train[0].amax(0), torch.ones(3))
    raw = ArrayDataModule(x, y, scaling=None, val_fraction=0, test_fraction=0)
    np.testing.assert_array_equal(raw.train[0], x.astype(np.float32))
    assert raw.val is None and raw.test is None


@pytest.mark.parametrize("scaling", ["standard", "minmax"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_constant_feature_becomes_zero(scaling, value):
    x, y = rows()
    x[:, 1] = value
    module = ArrayDataModule(x, y, scaling=scaling)
    for inputs, _ in parts(module):
        assert torch.allclose(inputs[:, 1], torch.zeros(len(inputs)), atol=1e-6)
        assert torch.isfinite(inputs).all()


def test_dtypes():
    x, y = rows()
    module = ArrayDataModule(x, y.astype(np.uint8))
    assert module.train[0].dtype == torch.float32 and module.train[1].dtype == torch.int64
    assert module.num_features == 3 and module.num_classes == 4
    real = ArrayDataModule(torch.from_numpy(x), x[:, :2])
    assert real.train[1].dtype == torch.float32 and real.train[1].shape[1:] == (2,)
    with pytest.raises(ValueError, match="num_classes needs integer targets"):
        _ = real.num_classes
    assert ArrayDataModule(x, y > 1).train[1].dtype == torch.int64
    assert ArrayDataModule(x.tolist(), y.tolist()).train[0].shape == (60, 3)


@pytest.mark.parametrize("shape", [(100,), (100, 2)])
def test_scaled_targets_can_be_brought_back(shape):
    x, _ = rows()
    y = np.random.default_rng(1).normal(150, 70, shape)
    module = ArrayDataModule(x, y)  # "standard" by itself
    raw = ArrayDataModule(x, y, target_scaling=None)
    assert module.train[1].abs().max() < 5
    assert torch.allclose(module.unscale_targets(module.test[1]), raw.test[1], rtol=1e-5)
    column = module.test[1].reshape(len(module.test[1]), -1)
    assert torch.allclose(
        module.unscale_targets(column), raw.test[1].reshape(column.shape), rtol=1e-5
    )


def test_batches_hold_every_row_once_and_match_their_targets():
    x = np.arange(50.0)[:, None]
    module = ArrayDataModule(
        x,
        x[:, 0],
        scaling=None,
        target_scaling=None,
        val_fraction=0,
        test_fraction=0,
        batch_size=8,
    )
    batches = list(module.train_dataloader())
    assert [len(b[0]) for b in batches] == [8] * 6 + [2]
    inputs, targets = (torch.cat(column) for column in zip(*batches, strict=True))
    assert torch.equal(inputs[:, 0], targets)
    assert sorted(targets.tolist()) == list(range(50)) and targets.tolist() != list(range(50))


def test_evaluation_batches_are_in_order():
    x, y = rows()
    module = ArrayDataModule(x, y, batch_size=7)
    for loader, part in [
        (module.val_dataloader(), module.val),
        (module.test_dataloader(), module.test),
        (module.predict_dataloader(), module.test),
    ]:
        assert torch.equal(torch.cat([b[0] for b in loader]), part[0])
    empty = ArrayDataModule(x, y, val_fraction=0, test_fraction=0)
    assert empty.val_dataloader() == empty.test_dataloader() == []


def order(loader, epoch):
    loader.sampler.set_epoch(epoch)
    return torch.cat([batch[1] for batch in loader]).tolist()


def test_the_order_depends_on_seed_and_epoch_alone():
    x = np.arange(40.0)[:, None]

    def loader(seed=0):
        module = ArrayDataModule(x, x[:, 0], seed=seed, val_fraction=0, test_fraction=0)
        return module.train_dataloader()

    one = loader()
    first, second = order(one, 0), order(one, 1)
    assert first != second
    torch.rand(5)
    assert order(one, 0) == first and order(loader(), 1) == second
    assert order(loader(seed=1), 0) not in (first, second)


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_global_generator_is_not_touched(num_workers):
    x, y = rows()
    with isolate_rng():
        state = torch.get_rng_state()
        module = ArrayDataModule(x, y, num_workers=num_workers)
        for loader in (module.train_dataloader(), module.val_dataloader()):
            assert sum(len(b[0]) for b in loader) > 0
        assert torch.equal(torch.get_rng_state(), state)


X, Y = rows(20)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, Y[:-1]), {}, ValueError, "one entry for each of the 20 rows .* got shape .19,."),
        ((X[:, 0], Y), {}, ValueError, r"inputs must have shape \(rows, features\).* got \(20,\)"),
        ((X[:0], Y[:0]), {}, ValueError, r"got \(0, 3\)"),
        ((X[:, :0], Y), {}, ValueError, r"got \(20, 0\)"),
        ((np.where(X > 9, np.nan, X), Y), {}, ValueError, "inputs must be finite, got .* first at"),
        ((X, np.full(20, np.inf)), {}, ValueError, "targets must be finite, got 20"),
        ((X.astype(complex), Y), {}, TypeError, "inputs must hold real numbers, got dtype complex"),
        ((X, X.astype(str)), {}, TypeError, "targets must hold real numbers, got dtype <U"),
        ((X, [*"ab" * 9, "a", 7]), {}, TypeError, "or in none, got 1 without, the first in row 19"),
        (("data.csv", Y), {}, TypeError, r"inputs must be .* got text: .* TableDataModule"),
        ((X, "y"), {}, TypeError, r"targets must be .* got text: .* TableDataModule"),
        ((X, Y), dict(val=("x.csv", Y)), TypeError, "val inputs must be an array .*got text"),
        ((X, Y), dict(val="x.csv"), ValueError, "val must be a pair .*, got str"),
        ((X, Y), dict(val=(X[:, :2], Y)), ValueError, "val inputs must have rows like"),
        ((X, Y), dict(test=(X, Y * 1.0)), ValueError, "test targets must have rows like"),
        ((X, Y), dict(test=(X, Y[:3])), ValueError, "test targets must have one entry"),
        ((X, Y), dict(val_fraction=0.6, test_fraction=0.5), ValueError, "must be below 1, got 0.6"),
        ((X, Y), dict(val_fraction=1.0), ValueError, "val_fraction must be at least 0 and below 1"),
        ((X, Y), dict(test_fraction=0.001), ValueError, "the test split of 20 rows is empty"),
        ((X[:1], Y[:1]), {}, ValueError, "split of 1 rows is empty"),
        ((X, Y), dict(scaling="robust"), ValueError, "scaling must be one of"),
        ((X, Y), dict(target_scaling="standard"), ValueError, "needs real targets, got integers"),
        ((X, Y), dict(batch_size=0), ValueError, "batch_size must be at least 1, got 0"),
        ((X, Y), dict(batch_size=2.5), TypeError, "batch_size must be an integer"),
        ((X, Y), dict(seed=-1), ValueError, "seed must be at least 0"),
        ((X, Y), dict(num_workers=-1), ValueError, "num_workers must be at least 0"),
    ],
)
def test_bad_arguments(arguments, options, error, message):
    with pytest.raises(error, match=message):
        ArrayDataModule(*arguments, **options)


@pytest.mark.parametrize(
    "change",
    [
        dict(inputs=lambda x, y: np.where(x == x.max(), 1e40, x)),
        dict(targets=lambda x, y: np.where(x[:, 0] == x[:, 0].max(), -1e40, x[:, 0])),
        dict(val=lambda x, y: (np.full((5, 3), 1e40), y[:5])),
        dict(test=lambda x, y: (np.full((5, 3), -1e40), y[:5])),
    ],
)
def test_what_float32_cannot_hold_is_refused_and_never_infinite(change):
    x, y = rows()
    arguments = dict(inputs=x, targets=y, scaling=None)
    arguments |= {name: make(x, y) for name, make in change.items()}
    (name,) = change
    with pytest.raises(ValueError, match=rf"{name}.* must be at most 3\.4e\+38 .* first at index"):
        ArrayDataModule(**arguments)


def test_new_inputs_that_float32_cannot_hold_are_refused():
    x, y = rows()
    module = ArrayDataModule(x, y, scaling="minmax")
    with pytest.raises(ValueError, match=r"inputs must be at most .* got 1 larger .*1, 2"):
        module.scale([[1.0, 2.0, 3.0], [1.0, 2.0, 1e300]])


def test_features_that_float64_can_just_hold_are_scaled_right():
    ends = np.linspace(-1, 1, 11)[:, None] * [[1.7e308, -1.7e308]]
    module = ArrayDataModule(
        ends, ends[:, 0], val_fraction=0, test_fraction=0, scaling="minmax", target_scaling="minmax"
    )
    expected = torch.linspace(0, 1, 11)
    torch.testing.assert_close(module.train[0], torch.stack([expected, 1 - expected], 1))
    torch.testing.assert_close(module.train[1], expected)
    back = module.unscale_targets(module.train[1].double())
    torch.testing.assert_close(back, torch.from_numpy(ends[:, 0]), rtol=1e-6, atol=1e302)

    module = ArrayDataModule(ends, np.arange(11) % 2, val_fraction=0, test_fraction=0)
    std = np.linspace(-1, 1, 11).std()
    torch.testing.assert_close(module.train[0][:, 0], torch.linspace(-1, 1, 11) / std)
    torch.testing.assert_close(module.scale(ends), module.train[0])


def test_a_feature_that_float32_would_make_constant_is_refused():
    x, y = rows()
    x[:, 1] = 1.7e9 + np.arange(100) / 10  # seconds since 1970
    with pytest.raises(ValueError, match=r"got feature \[1\], which is constant there: choose s"):
        ArrayDataModule(x, y, scaling=None)
    assert ArrayDataModule(x, y).train[0].std(0).min() > 0.9
    x[:, 1] = 1e-60 * np.arange(100)
    with pytest.raises(ValueError, match=r"got feature \[1\]"):
        ArrayDataModule(x, y, scaling=None)


def test_columns_are_matched_by_name():
    pandas = pytest.importorskip("pandas")
    x, y = rows()
    x[:, 1] *= 100
    table = pandas.DataFrame(x, columns=["a", "b", "c"])
    other = table[["c", "a", "b"]]
    module = ArrayDataModule(table, y, val=(other[:10], y[:10]), test=(other[:20], y[:20]))
    right = ArrayDataModule(x, y, val=(x[:10], y[:10]), test=(x[:20], y[:20]))
    for got, expected in zip(parts(module), parts(right), strict=True):
        assert torch.equal(got[0], expected[0])
    assert torch.equal(module.scale(other), right.scale(x))
    assert torch.equal(module.scale(x), right.scale(x))  # without names: as they come
    assert torch.equal(right.scale(table), right.scale(x))
    with pytest.raises(ValueError, match=r"inputs must have the columns .* missing \['b'\], unkn"):
        module.scale(table.rename(columns={"b": "d"}))
    with pytest.raises(ValueError, match=r"val inputs must have the columns .* unknown \['d'\]"):
        ArrayDataModule(table, y, val=(table.assign(d=1.0), y))
    twice = pandas.DataFrame(x, columns=["a", "b", "a"])
    assert torch.equal(ArrayDataModule(twice, y).scale(twice), ArrayDataModule(x, y).scale(x))
    with pytest.raises(ValueError, match="must have the columns of the training inputs"):
        ArrayDataModule(twice, y).scale(twice[twice.columns[::-1]])


def test_rows_of_another_width_are_refused():
    x, y = rows()
    module = ArrayDataModule(x, y)
    for bad in (x[:, :1], x[0], x[:, :, None]):
        with pytest.raises(ValueError, match=r"inputs must have rows of shape \(3,\) like the"):
            module.scale(bad)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [">f8", ">f4", ">i4", "f2", "g", "u2", "u8", "?"])
def test_arrays_of_any_real_dtype_and_byte_order(dtype):
    x, y = rows()
    x = (x > 5) if dtype == "?" else np.abs(x).astype(dtype)
    x.setflags(write=False)  # as those of pandas are
    module = ArrayDataModule(x, y.astype(">i2"), scaling=None)
    order = np.concatenate([np.asarray(part[0]) for part in parts(module)])
    plain = x.astype(np.float32)
    assert np.array_equal(np.sort(order, axis=0), np.sort(plain, axis=0))
    assert module.train[1].dtype == torch.int64


def test_integers_beyond_int64_are_refused():
    _, y = rows()
    with pytest.raises(ValueError, match=r"inputs must be below 2\*\*63, got larger integers"):
        ArrayDataModule(np.full((100, 3), 2**64 - 1, dtype=np.uint64), y)


@pytest.mark.parametrize("name", ["val", "test"])
@pytest.mark.parametrize("value", [[], (np.zeros((3, 3)),), [1, 2, 3]])
def test_what_is_no_pair_is_refused_with_a_remedy(name, value):
    x, y = rows()
    with pytest.raises(ValueError, match=rf"{name} must be a pair .*got \d entries.*{name}_frac"):
        ArrayDataModule(x, y, **{name: value})


@pytest.mark.parametrize("seed", [2**32, 2**65, -1])
def test_a_seed_that_no_generator_takes_is_refused(seed):
    x, y = rows()
    with pytest.raises(ValueError, match=r"seed must be at (most 4294967295|least 0), got"):
        ArrayDataModule(x, y, seed=seed)
    with pytest.raises(ValueError, match="seed must be at"):
        ResumableLoader(range(5), seed=seed)
    next(iter(ArrayDataModule(x, y, seed=2**32 - 1).train_dataloader()))


def test_the_last_batch_is_left_out_where_asked_and_another_one_each_epoch():
    x = np.arange(41.0)[:, None]
    options = dict(val_fraction=0, test_fraction=0, batch_size=8, scaling=None)
    module = ArrayDataModule(x, np.zeros(41), drop_last=True, **options)
    kept = []
    loader = module.train_dataloader()
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        batches = [inputs[:, 0].tolist() for inputs, _ in loader]
        assert [len(batch) for batch in batches] == [8] * 5 and len(loader) == 5
        kept.append({value for batch in batches for value in batch})
    assert len({41 * 40 / 2 - sum(rows) for rows in kept}) > 1
    whole = ArrayDataModule(x, np.zeros(41), **options).train_dataloader()
    assert [len(inputs) for inputs, _ in whole] == [8] * 5 + [1]
    again = module.train_dataloader()  # resumed in the middle
    iterator = iter(loader)
    next(iterator)
    again.sampler.set_epoch(2)
    again.load_state_dict(loader.state_dict())
    assert all(torch.equal(one[0], other[0]) for one, other in zip(iterator, again, strict=True))
    validated = ArrayDataModule(x, np.zeros(41), val=(x, np.zeros(41)), drop_last=True, **options)
    assert sum(len(inputs) for inputs, _ in validated.val_dataloader()) == 41
    with pytest.raises(ValueError, match=r"leaves nothing of 41 training rows .* lower batch_size"):
        ArrayDataModule(x, np.zeros(41), drop_last=True, **options | dict(batch_size=42))


def test_labels_of_text_are_classes_by_name():
    x, y = rows(classes=3)
    labels = np.array(["cat", "ant", "bee"])[y]
    for given in (labels, labels.tolist(), labels.astype(object)):
        module = ArrayDataModule(x, given, val=(x[:9], given[:9]))
        assert module.preprocessing.targets.classes == ["ant", "bee", "cat"]
        assert module.num_classes == module.output_dim("multiclass") == 3
        assert module.val[1].tolist() == [["ant", "bee", "cat"].index(label) for label in given[:9]]
    indices = np.searchsorted(["ant", "bee", "cat"], labels)
    assert torch.equal(ArrayDataModule(x, indices).test[1], ArrayDataModule(x, labels).test[1])
    with pytest.raises(ValueError, match=r"val targets .* 3 classes .* got 1 .* first in row 1"):
        ArrayDataModule(x, labels, val=(x[:2], ["ant", "dog"]))
    for one, other in ((labels, y), (y, labels)):
        with pytest.raises(TypeError, match=r"test targets must be text like .* or neither"):
            ArrayDataModule(x, one, test=(x, other))


SECRET = "Mustermann"


@pytest.mark.parametrize(
    ("inputs", "targets", "val"),
    [
        ([[1.0, SECRET]] * 9, [0] * 9, None),
        (np.array([[1.0, SECRET]] * 9, object), [0] * 9, None),
        (SECRET, [0], None),
        (SECRET.encode(), [0], None),
        ([[1.0]] * 9, [[SECRET]] * 9, None),
        ([[1.0]] * 9, [SECRET, 3] * 4 + [None], None),
        ([[1.0]] * 9, [SECRET] * 9, ([[1.0]], ["Musterfrau"])),
        ([[1.0]] * 9, [0] * 9, (SECRET,)),
        ([[1.0]] * 9, [0] * 9, SECRET),
        ([[1.0], [77777.0, 2.0]], [0] * 2, None),
        ([[77777.0, np.nan]] * 9, [0] * 9, None),
        ([[7.7777e300]] * 9, [0] * 9, None),
        ([[77777.0]] * 9, [0] * 8, None),
    ],
)
def test_no_error_shows_what_is_in_the_data(inputs, targets, val):
    with pytest.raises((TypeError, ValueError)) as refusal:
        ArrayDataModule(inputs, targets, val=val, scaling=None)
    assert "Muster" not in str(refusal.value) and "7777" not in str(refusal.value)


def test_images_with_their_channels_last_are_told():
    images, labels = np.zeros((20, 8, 8, 3)), np.arange(20) % 2
    images[:, 0] = np.random.default_rng(0).normal(size=(20, 8, 3))
    with pytest.warns(UserWarning, match=r"8 channels of 8 x 3 .* give numpy\.moveaxis.inputs, -1"):
        ArrayDataModule(images, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ArrayDataModule(np.moveaxis(images, -1, 1), labels)
        ArrayDataModule(images[:, :4], labels)  # 4 channels


def test_the_command_line_leaves_the_name_of_a_file_a_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text(f"name,age\n{SECRET},3\n")
    model = ["--model=SequentialHybrid", "--model.input_dim=auto", "--model.output_dim=auto"]
    data = ["--data=ArrayDataModule", "--data.inputs=people.csv", "--data.targets=age"]
    with pytest.raises(SystemExit) as left:
        main(["fit", *model, "--model.quantum_dim=2", *data])
    assert left.value.code == 2
    shown = capsys.readouterr()
    assert "inputs must be an array or a table, got text" in shown.err
    assert SECRET not in shown.err + shown.out


def test_weights_go_with_their_rows():
    x = torch.arange(40.0)[:, None]
    data = ArrayDataModule(
        x, torch.arange(40) % 2, weights=np.arange(40), batch_size=7, scaling=None
    )
    for part in (data.train, data.val, data.test):
        assert torch.equal(part[2], part[0][:, 0])
    batch = next(iter(data.train_dataloader()))
    assert torch.equal(batch[2], batch[0][:, 0])
    given = ArrayDataModule(
        x, torch.arange(40) % 2, weights=[1.0] * 40, val=(x, torch.arange(40) % 2)
    )
    assert [len(part) for part in (given.train, given.val, given.test)] == [3, 2, 3]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0] * 39, r"each of the 40 rows, .* got shape \(39,\)"),
        ([[1.0]] * 40, r"got shape \(40, 1\)"),
        ([-1.0] * 40, "40 below 0"),
        ([0.0] * 40, "not all 0 in a split"),
        ([float("nan")] * 40, "weights must be finite"),
    ],
)
def test_weights_that_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        ArrayDataModule(torch.randn(40, 2), torch.arange(40) % 2, weights=weights)


def test_weights_that_are_all_0_in_a_split_are_refused():
    """Or its loss would be 0, whatever the model does."""
    targets = torch.arange(30) % 2
    splits = ArrayDataModule(torch.arange(30.0)[:, None], targets, scaling=None)
    weights = torch.ones(30)
    weights[splits.val[0][:, 0].long()] = 0.0
    with pytest.raises(ValueError, match="not all 0 in a split"):
        ArrayDataModule(torch.randn(30, 2), targets, weights=weights)

r"""How photon statistics become outputs: one table, `table.py`, and a file for each kind of row.

Outputs that no circuit changes are refused, so that every feature reaches the output. Meshes on
both sides of a column of data phases reach every unitary: if a feature that is no global phase left
all outputs unchanged for generic meshes, the outputs would be the same for all unitaries. It is
enough to look at a few. The identity brings s to s, where one group of outcomes has it all and the
others none (after post-selection: a unitary that sends all photons to one unbunched outcome's
modes), and a permutation of modes permutes :math:`\langle n_j\rangle = s_j` unless all are equal.
Constant pair correlations would need the same :math:`s_j (s_j - 1)` in all modes and their Haar
mean, :math:`2 n (n - 1) / (m (m + 1))`, which leaves one photon. Where a
rule keeps outcomes, `selected.py` looks.
"""

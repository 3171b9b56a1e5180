import pytest

from noisyseg.errata import COMPUTED

LOGIT = 2.1972  # log(.9 / .1)


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        # Losses: f = (.1, .2, .15, .25, .3), the last the lesion
        ("ace_less_cross_entropy", 0, 1e-12),
        ("ace_least_push_on_no_lesion", 0.1 / 0.7 - 0.1, 1e-9),
        ("ace_push_on_lesion", -0.3, 1e-9),
        ("tissue_push_on_lesion", -0.3, 1e-9),
        ("literal_push_on_lesion", 0.3 / 0.9 - 0.3, 1e-9),
        ("literal_push_on_background", -0.1, 1e-9),
        ("literal_push_on_absent_tumour", (1 / 4 - 1 / 6) / 2, 1e-9),
        ("beta_limit_gap", 0, 1e-5),
        ("beta_1e4_gap_to_ce", 0, 1e-3),
        ("clamp_gap_to_ce", 0.42, 0.05),
        ("half_dice_share", 0.12, 0.02),  # soft Dice's gradients are small
        ("beta_divergence_gap", 0, 1e-12),
        ("divergence_limit_gap", 0, 1e-6),
        ("equation_1_gap_to_ce", 0.847, 1e-3),
        ("equation_1_pull", LOGIT, 1e-3),  # of cross-entropy: -LOGIT
        # Noise and threshold
        ("marginal_gap", 0, 0.005),
        ("mean_volume_gap", 0, 0.02),
        ("volume_loss", 0, 0.02),
        ("volume_spread_beyond_a_tenth", 0.23, 0.05),
        ("field_correlation", 0.6065, 0.03),
        ("field_variance", 1, 0.05),
        ("accuracy_optimum_gap", 0, 1e-12),
        ("dice_optimum_gap", 0, 1e-12),
        ("soft_optimum_gap", 0, 1e-6),
        ("optima_beyond_the_first", 0, 0),
        ("fixed_point_gap", 0, 1e-12),
        ("optimum_volume_gap", 0.51, 0.02),
        ("theory_gain", 0.05, 0.005),
        ("iterations_beyond_ten", -6, 0),
        ("soft_dice_identity_gap", 0.2 - 0.2 / 7, 1e-9),  # .2 (1 - 2 / 14)
        # Others
        ("missed_structure_score", 1, 1e-12),
        ("false_structure_score", 1 / 3, 1e-12),
        ("rate_left_at_epoch_10", (139 / 150) ** 0.9, 1e-9),
        ("printed_classes_over_software", 2, 0),
        ("mean_of_printed_structures", 0.58365, 1e-9),
        ("descriptor_versions_apart", 0.25, 0.02),
        ("normalised_branch_fails", 1, 0),
        ("staple_grows_with_domain", 91 - 64, 0),
    ],
)
def test_what_a_claim_comes_to(name, expected, tolerance):
    assert COMPUTED[name]() == pytest.approx(expected, abs=tolerance)

"""The papers that reports cite, and how each kind of interval is called in a paper.

In: nothing. Out: texts by key.
"""

REFERENCES = {
    "brier1950": "Brier, G. W. (1950). Verification of forecasts expressed in terms of probability. "
    "Monthly Weather Review, 78(1), 1–3. doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2",
    "brocker2007": "Bröcker, J., & Smith, L. A. (2007). Increasing the reliability of reliability diagrams. "
    "Weather and Forecasting, 22(3), 651–661. doi:10.1175/WAF993.1",
    "angelopoulos2021": "Angelopoulos, A. N., Bates, S., Candès, E. J., Jordan, M. I., & Lei, L. (2021). Learn "
    "then test: Calibrating predictive algorithms to achieve risk control. arXiv:2110.01052",
    "cohen1968": "Cohen, J. (1968). Weighted kappa: Nominal scale agreement with provision for scaled disagreement or "
    "partial credit. Psychological Bulletin, 70(4), 213–220. doi:10.1037/h0026256",
    "fleiss1969": "Fleiss, J. L., Cohen, J., & Everitt, B. S. (1969). Large sample standard errors of kappa and "
    "weighted kappa. Psychological Bulletin, 72(5), 323–327. doi:10.1037/h0028106",
    "lipton2014": "Lipton, Z. C., Elkan, C., & Naryanaswamy, B. (2014). Optimal thresholding of classifiers to "
    "maximize F1 measure. ECML PKDD 2014, 225–239. doi:10.1007/978-3-662-44851-9_15",
    "geifman2017": "Geifman, Y., & El-Yaniv, R. (2017). Selective classification for deep neural networks. "
    "Advances in Neural Information Processing Systems, 30. arXiv:1705.08500",
    "guo2017": "Guo, C., Pleiss, G., Sun, Y., & Weinberger, K. Q. (2017). On calibration of modern neural networks. "
    "Proceedings of the 34th International Conference on Machine Learning. arXiv:1706.04599",
    "hall1992": "Hall, P. (1992). On the removal of skewness by transformation. "
    "Journal of the Royal Statistical Society B, 54(1), 221–228. doi:10.1111/j.2517-6161.1992.tb01876.x",
    "hu2022": "Hu, E. J., Shen, Y., Wallis, P., Allen-Zhu, Z., Li, Y., Wang, S., Wang, L., & Chen, W. (2022). LoRA: "
    "Low-rank adaptation of large language models. ICLR 2022. arXiv:2106.09685",
    "korn1998": "Korn, E. L., & Graubard, B. I. (1998). Confidence intervals for proportions with small expected "
    "number of positive counts estimated from survey data. Survey Methodology, 24(2), 193–201.",
    "lam2023": "Lam, K. F. Y., Gopal, V., & Qian, J. (2023). Confidence intervals for the F1 score: A comparison of "
    "four methods. arXiv:2309.14621",
    "mackinnon2023": "MacKinnon, J. G., Nielsen, M. Ø., & Webb, M. D. (2023). Fast and reliable jackknife and "
    "bootstrap methods for cluster-robust inference. Journal of Applied Econometrics, 38(5), 671–694. "
    "doi:10.1002/jae.2969",
    "naeini2015": "Naeini, M. P., Cooper, G. F., & Hauskrecht, M. (2015). Obtaining well calibrated probabilities "
    "using Bayesian binning. Proceedings of the AAAI Conference on Artificial Intelligence, 29(1). "
    "doi:10.1609/aaai.v29i1.9602",
    "northcutt2021": "Northcutt, C. G., Jiang, L., & Chuang, I. L. (2021). Confident learning: Estimating uncertainty "
    "in dataset labels. Journal of Artificial Intelligence Research, 70, 1373–1411. doi:10.1613/jair.1.12125",
    "wilson1927": "Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. "
    "Journal of the American Statistical Association, 22(158), 209–212. doi:10.1080/01621459.1927.10502953",
    "wolf2020": "Wolf, T., et al. (2020). Transformers: State-of-the-art natural language processing. Proceedings of "
    "EMNLP 2020: System Demonstrations, 38–45. doi:10.18653/v1/2020.emnlp-demos.6",
    "zou2008": "Zou, G. Y., & Donner, A. (2008). Construction of confidence limits about effect measures: A general "
    "approach. Statistics in Medicine, 27(10), 1693–1702. doi:10.1002/sim.3095",
    "tunstall2022": "Tunstall, L., Reimers, N., Jo, U. E. S., Bates, L., Korat, D., Wasserblat, M., & Pereg, O. "
    "(2022). Efficient few-shot learning without prompts. arXiv:2209.11055",
}

GROUPED = "grouped-"
"""Begins the key of an interval that takes groups as the units."""
GROUPED_REFERENCES = ("korn1998", "mackinnon2023")
INTERVALS: dict[str, tuple[str, tuple[str, ...]]] = {
    "wilson": ("Wilson’s (1927) score interval", ("wilson1927",)),
    "wilson-f1": ("Wilson’s interval of TP/(TP+FP+FN), carried over to F1 (Lam et al. 2023)", ("lam2023",)),
    "wilson-effective": ("Wilson’s interval at the effective number of texts", ("wilson1927",)),
    "wilson-decisions": (
        "Wilson’s interval at the effective number of decisions, those on one text hanging together",
        ("wilson1927",),
    ),
    "fisher": ("the delta method (Fleiss et al. 1969) on Fisher’s scale", ("fleiss1969",)),
    "mover": ("recovery of variance from the classes’ intervals (MOVER; Zou and Donner 2008)", ("zou2008",)),
    "hall": ("Student’s t corrected for skewness (Hall 1992)", ("hall1992",)),
}
"""For each kind, what it is called and whom to cite."""

KINDS = {
    "accuracy": "accuracy",
    "exact-match": "exact match",
    "hamming-loss": "Hamming loss",
    "samples-f1": "samples-F1",
    "quadratic-kappa": "quadratic kappa",
    "mean-absolute-error": "mean absolute error",
    "precision": "precision and recall",
    "recall": "precision and recall",
    "f1": "F1 of a class",
    "log-loss": "log loss",
    "balanced-accuracy": "averages over classes",
    "macro-f1": "averages over classes",
    "macro-precision": "averages over classes",
    "macro-recall": "averages over classes",
    "weighted-f1": "weighted averages",
    "weighted-precision": "weighted averages",
    "weighted-recall": "accuracy",
    "micro-f1": "accuracy",
    "micro-precision": "accuracy",
    "micro-recall": "accuracy",
}
"""What a paper calls a figure, of which many have one kind of interval."""
KINDS_OF_SETS = {
    **{f"micro-{figure}": "micro averages" for figure in ("f1", "precision", "recall")},
    "weighted-recall": "micro averages",
}

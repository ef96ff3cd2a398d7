"""What the methods paragraph cites: papers on methods, on tools, and on pre-trained models.

In: nothing; the name and the kind of a model. Out: references as text, and which of them a model is cited by.
"""

from secondcoder.model.families import known_names

METHODS = {
    "agresti2005": "Agresti, A., & Min, Y. (2005). Simple improved confidence intervals for comparing matched "
    "proportions. Statistics in Medicine, 24(5), 729–740. doi:10.1002/sim.1781",
    "canay2017": "Canay, I. A., Romano, J. P., & Shaikh, A. M. (2017). Randomization tests under an approximate "
    "symmetry assumption. Econometrica, 85(3), 1013–1030. doi:10.3982/ECTA13081",
    "carter2017": "Carter, A. V., Schnepel, K. T., & Steigerwald, D. G. (2017). Asymptotic behavior of a t-test robust "
    "to cluster heterogeneity. Review of Economics and Statistics, 99(4), 698–709. doi:10.1162/REST_a_00639",
    "dror2018": "Dror, R., Baumer, G., Shlomov, S., & Reichart, R. (2018). The hitchhiker’s guide to testing "
    "statistical significance in natural language processing. Proceedings of ACL 2018, 1383–1392. "
    "doi:10.18653/v1/P18-1128",
    "phipson2010": "Phipson, B., & Smyth, G. K. (2010). Permutation p-values should never be zero: Calculating exact "
    "p-values when permutations are randomly drawn. Statistical Applications in Genetics and Molecular Biology, 9(1), "
    "39. doi:10.2202/1544-6115.1585",
    "yeh2000": "Yeh, A. (2000). More accurate tests for the statistical significance of result differences. "
    "Proceedings of COLING 2000, 947–953. doi:10.3115/992730.992783",
    "brier1950": "Brier, G. W. (1950). Verification of forecasts expressed in terms of probability. "
    "Monthly Weather Review, 78(1), 1–3. doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2",
    "angelopoulos2021": "Angelopoulos, A. N., Bates, S., Candès, E. J., Jordan, M. I., & Lei, L. (2021). Learn "
    "then test: Calibrating predictive algorithms to achieve risk control. arXiv:2110.01052",
    "cohen1968": "Cohen, J. (1968). Weighted kappa: Nominal scale agreement with provision for scaled disagreement or "
    "partial credit. Psychological Bulletin, 70(4), 213–220. doi:10.1037/h0026256",
    "brown2001": "Brown, L. D., Cai, T. T., & DasGupta, A. (2001). Interval estimation for a binomial proportion. "
    "Statistical Science, 16(2), 101–133. doi:10.1214/ss/1009213286",
    "crowder1978": "Crowder, M. J. (1978). Beta-binomial anova for proportions. Applied Statistics, 27(1), 34–37. "
    "doi:10.2307/2346223",
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
    "kish1965": "Kish, L. (1965). Survey sampling. Wiley.",
    "lam2023": "Lam, K. F. Y., Gopal, V., & Qian, J. (2023). Confidence intervals for the F1 score: A comparison of "
    "four methods. arXiv:2309.14621",
    "mackinnon2023": "MacKinnon, J. G., Nielsen, M. Ø., & Webb, M. D. (2023). Fast and reliable jackknife and "
    "bootstrap methods for cluster-robust inference. Journal of Applied Econometrics, 38(5), 671–694. "
    "doi:10.1002/jae.2969",
    "naeini2015": "Naeini, M. P., Cooper, G. F., & Hauskrecht, M. (2015). Obtaining well calibrated probabilities "
    "using Bayesian binning. Proceedings of the AAAI Conference on Artificial Intelligence, 29(1). "
    "doi:10.1609/aaai.v29i1.9602",
    "newcombe2016": "Newcombe, R. G. (2016). MOVER-R confidence intervals for ratios and products of two independently "
    "estimated quantities. Statistical Methods in Medical Research, 25(5), 1774–1778. doi:10.1177/0962280213502144",
    "northcutt2021": "Northcutt, C. G., Jiang, L., & Chuang, I. L. (2021). Confident learning: Estimating uncertainty "
    "in dataset labels. Journal of Artificial Intelligence Research, 70, 1373–1411. doi:10.1613/jair.1.12125",
    "wilson1927": "Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. "
    "Journal of the American Statistical Association, 22(158), 209–212. doi:10.1080/01621459.1927.10502953",
    "zou2008": "Zou, G. Y., & Donner, A. (2008). Construction of confidence limits about effect measures: A general "
    "approach. Statistics in Medicine, 27(10), 1693–1702. doi:10.1002/sim.3095",
    "egami2023": "Egami, N., Hinck, M., Stewart, B. M., & Wei, H. (2023). Using imperfect surrogates for downstream "
    "inference: Design-based supervised learning for social science applications of large language models. Advances "
    "in Neural Information Processing Systems, 36. arXiv:2306.04746",
    "kumar2019": "Kumar, A., Liang, P., & Ma, T. (2019). Verified uncertainty calibration. "
    "Advances in Neural Information Processing Systems, 32. arXiv:1909.10155",
    "loshchilov2019": "Loshchilov, I., & Hutter, F. (2019). Decoupled weight decay regularization. ICLR 2019. "
    "arXiv:1711.05101",
    "satterthwaite1946": "Satterthwaite, F. E. (1946). An approximate distribution of estimates of variance "
    "components. Biometrics Bulletin, 2(6), 110–114. doi:10.2307/3002019",
    "teblunthuis2024": "TeBlunthuis, N., Hase, V., & Chan, C.-H. (2024). Misclassification in automated content "
    "analysis causes bias in regression. Can we fix it? Yes we can! Communication Methods and Measures, 18(3), "
    "278–299. doi:10.1080/19312458.2023.2293713",
    "tunstall2022": "Tunstall, L., Reimers, N., Jo, U. E. S., Bates, L., Korat, D., Wasserblat, M., & Pereg, O. "
    "(2022). Efficient few-shot learning without prompts. arXiv:2209.11055",
}
"""Explained in docs/methods.md."""
TOOLS = {
    "pedregosa2011": "Pedregosa, F., Varoquaux, G., Gramfort, A., et al. (2011). Scikit-learn: Machine learning in "
    "Python. Journal of Machine Learning Research, 12, 2825–2830. arXiv:1201.0490",
    "wolf2020": "Wolf, T., et al. (2020). Transformers: State-of-the-art natural language processing. Proceedings of "
    "EMNLP 2020: System Demonstrations, 38–45. doi:10.18653/v1/2020.emnlp-demos.6",
}
MODELS: dict[str, tuple[str, str]] = {
    "allal2025": (
        "Ben Allal et al. 2025",
        "Ben Allal, L., Lozhkov, A., Bakouch, E., et al. (2025). SmolLM2: When Smol goes big – Data-centric "
        "training of a small language model. arXiv:2502.02737",
    ),
    "beltagy2020": (
        "Beltagy et al. 2020",
        "Beltagy, I., Peters, M. E., & Cohan, A. (2020). Longformer: The long-document transformer. arXiv:2004.05150",
    ),
    "chan2020": (
        "Chan et al. 2020",
        "Chan, B., Schweter, S., & Möller, T. (2020). German’s next language model. Proceedings of COLING "
        "2020, 6788–6796. doi:10.18653/v1/2020.coling-main.598",
    ),
    "clark2020": (
        "Clark et al. 2020",
        "Clark, K., Luong, M.-T., Le, Q. V., & Manning, C. D. (2020). ELECTRA: Pre-training text encoders as "
        "discriminators rather than generators. ICLR 2020. arXiv:2003.10555",
    ),
    "conneau2020": (
        "Conneau et al. 2020",
        "Conneau, A., Khandelwal, K., Goyal, N., et al. (2020). Unsupervised cross-lingual representation "
        "learning at scale. Proceedings of ACL 2020, 8440–8451. doi:10.18653/v1/2020.acl-main.747",
    ),
    "devlin2019": (
        "Devlin et al. 2019",
        "Devlin, J., Chang, M.-W., Lee, K., & Toutanova, K. (2019). BERT: Pre-training of deep bidirectional "
        "transformers for language understanding. Proceedings of NAACL-HLT 2019, 4171–4186. doi:10.18653/v1/N19-1423",
    ),
    "gemma2024": (
        "Gemma Team 2024",
        "Gemma Team. (2024). Gemma: Open models based on Gemini research and technology. arXiv:2403.08295",
    ),
    "gemma2-2024": (
        "Gemma Team 2024",
        "Gemma Team. (2024). Gemma 2: Improving open language models at a practical size. arXiv:2408.00118",
    ),
    "gemma3-2025": (
        "Gemma Team 2025",
        "Gemma Team. (2025). Gemma 3 technical report. arXiv:2503.19786",
    ),
    "grattafiori2024": (
        "Grattafiori et al. 2024",
        "Grattafiori, A., Dubey, A., Jauhri, A., et al. (2024). The Llama 3 herd of models. arXiv:2407.21783",
    ),
    "he2021": (
        "He et al. 2021",
        "He, P., Liu, X., Gao, J., & Chen, W. (2021). DeBERTa: Decoding-enhanced BERT with disentangled "
        "attention. ICLR 2021. arXiv:2006.03654",
    ),
    "he2023": (
        "He et al. 2023",
        "He, P., Gao, J., & Chen, W. (2023). DeBERTaV3: Improving DeBERTa using ELECTRA-style pre-training with "
        "gradient-disentangled embedding sharing. ICLR 2023. arXiv:2111.09543",
    ),
    "lan2020": (
        "Lan et al. 2020",
        "Lan, Z., Chen, M., Goodman, S., Gimpel, K., Sharma, P., & Soricut, R. (2020). ALBERT: A lite BERT for "
        "self-supervised learning of language representations. ICLR 2020. arXiv:1909.11942",
    ),
    "lewis2020": (
        "Lewis et al. 2020",
        "Lewis, M., Liu, Y., Goyal, N., et al. (2020). BART: Denoising sequence-to-sequence pre-training for "
        "natural language generation, translation, and comprehension. Proceedings of ACL 2020, 7871–7880. "
        "doi:10.18653/v1/2020.acl-main.703",
    ),
    "liu2019": (
        "Liu et al. 2019",
        "Liu, Y., Ott, M., Goyal, N., et al. (2019). RoBERTa: A robustly optimized BERT pretraining approach. "
        "arXiv:1907.11692",
    ),
    "liu2020": (
        "Liu et al. 2020",
        "Liu, Y., Gu, J., Goyal, N., et al. (2020). Multilingual denoising pre-training for neural machine "
        "translation. Transactions of the Association for Computational Linguistics, 8, 726–742. "
        "doi:10.1162/tacl_a_00343",
    ),
    "martin2020": (
        "Martin et al. 2020",
        "Martin, L., Muller, B., Ortiz Suárez, P. J., et al. (2020). CamemBERT: A tasty French language "
        "model. Proceedings of ACL 2020, 7203–7219. doi:10.18653/v1/2020.acl-main.645",
    ),
    "radford2019": (
        "Radford et al. 2019",
        "Radford, A., Wu, J., Child, R., Luan, D., Amodei, D., & Sutskever, I. (2019). Language models are "
        "unsupervised multitask learners. OpenAI.",
    ),
    "reimers2019": (
        "Reimers and Gurevych 2019",
        "Reimers, N., & Gurevych, I. (2019). Sentence-BERT: Sentence embeddings using Siamese "
        "BERT-networks. Proceedings of EMNLP-IJCNLP 2019, 3982–3992. doi:10.18653/v1/D19-1410",
    ),
    "reimers2020": (
        "Reimers and Gurevych 2020",
        "Reimers, N., & Gurevych, I. (2020). Making monolingual sentence embeddings multilingual using "
        "knowledge distillation. Proceedings of EMNLP 2020, 4512–4525. doi:10.18653/v1/2020.emnlp-main.365",
    ),
    "sanh2019": (
        "Sanh et al. 2019",
        "Sanh, V., Debut, L., Chaumond, J., & Wolf, T. (2019). DistilBERT, a distilled version of BERT: "
        "smaller, faster, cheaper and lighter. arXiv:1910.01108",
    ),
    "song2020": (
        "Song et al. 2020",
        "Song, K., Tan, X., Qin, T., Lu, J., & Liu, T.-Y. (2020). MPNet: Masked and permuted pre-training for "
        "language understanding. Advances in Neural Information Processing Systems, 33. arXiv:2004.09297",
    ),
    "tang2020": (
        "Tang et al. 2020",
        "Tang, Y., Tran, C., Li, X., et al. (2020). Multilingual translation with extensible multilingual "
        "pretraining and finetuning. arXiv:2008.00401",
    ),
    "wang2020": (
        "Wang et al. 2020",
        "Wang, W., Wei, F., Dong, L., Bao, H., Yang, N., & Zhou, M. (2020). MiniLM: Deep self-attention "
        "distillation for task-agnostic compression of pre-trained transformers. Advances in Neural Information "
        "Processing Systems, 33. arXiv:2002.10957",
    ),
    "wang2024": (
        "Wang et al. 2024",
        "Wang, L., Yang, N., Huang, X., Yang, L., Majumder, R., & Wei, F. (2024). Multilingual E5 text "
        "embeddings: A technical report. arXiv:2402.05672",
    ),
    "warner2024": (
        "Warner et al. 2024",
        "Warner, B., Chaffin, A., Clavié, B., et al. (2024). Smarter, better, faster, longer: A modern "
        "bidirectional encoder for fast, memory efficient, and long context finetuning and inference. arXiv:2412.13663",
    ),
    "yang2024": (
        "Yang et al. 2024",
        "Yang, A., Yang, B., Zhang, B., et al. (2024). Qwen2.5 technical report. arXiv:2412.15115",
    ),
    "yang2025": (
        "Yang et al. 2025",
        "Yang, A., Li, A., Yang, B., et al. (2025). Qwen3 technical report. arXiv:2505.09388",
    ),
}
"""How the text names a paper, and its reference."""
REFERENCES = METHODS | TOOLS | {key: reference for key, (_, reference) in MODELS.items()}
_SENTENCES = ("wang2020", "reimers2019")  # MiniLM, trained further for the likeness of sentences
# By the last part of a known name, where its weights are not those of its kind's own paper.
_BY_NAME = {
    "minilm": _SENTENCES,
    "all-minilm-l6-v2": _SENTENCES,
    "paraphrase-multilingual-minilm-l12-v2": ("wang2020", "reimers2020"),
    "minilm-l12-h384-uncased": ("wang2020",),
    "gbert-base": ("chan2020",),
    "distilroberta-base": ("sanh2019", "liu2019"),
    "distilgpt2": ("sanh2019", "radford2019"),
    "all-mpnet-base-v2": ("song2020", "reimers2019"),
    "multilingual-e5-base": ("wang2024",),
    **dict.fromkeys(("deberta-v3-xsmall", "deberta-v3-small", "deberta-v3-base", "deberta-v3-large"), ("he2023",)),
    "mdeberta-v3-base": ("he2023",),
    **dict.fromkeys(("smollm2-135m", "smollm2-360m"), ("allal2025",)),
    "mbart-large-50": ("tang2020",),
}
# By transformers' name of the kind: the paper on the network, and on most of the weights that are known of it.
_BY_KIND = {
    "bert": "devlin2019",
    "distilbert": "sanh2019",
    "roberta": "liu2019",
    "xlm-roberta": "conneau2020",
    "camembert": "martin2020",
    "deberta-v2": "he2021",
    "deberta": "he2021",
    "modernbert": "warner2024",
    "mpnet": "song2020",
    "electra": "clark2020",
    "albert": "lan2020",
    "longformer": "beltagy2020",
    "gpt2": "radford2019",
    "llama": "grattafiori2024",
    "qwen2": "yang2024",
    "qwen3": "yang2025",
    "gemma": "gemma2024",
    "gemma2": "gemma2-2024",
    "gemma3_text": "gemma3-2025",
    "mbart": "liu2020",
    "bart": "lewis2020",
}


def cited_for(model: str, kind: str) -> tuple[str, ...]:
    """Return the keys of the papers on a pre-trained model that `secondcoder models` lists; nothing for others."""
    if model not in known_names():
        return ()
    return _BY_NAME.get(model.rpartition("/")[2].casefold()) or cited_for_kind(kind)


def cited_for_kind(kind: str) -> tuple[str, ...]:
    """Return the key of the paper on a kind of network, by transformers' name of it; nothing for others."""
    return (_BY_KIND[kind],) if kind in _BY_KIND else ()

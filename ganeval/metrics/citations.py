"""BibTeX of the papers that the metrics are from."""

HEUSEL_2017 = """\
@inproceedings{heusel2017gans,
  title     = {{GANs} Trained by a Two Time-Scale Update Rule Converge to a Local {Nash} Equilibrium},
  author    = {Heusel, Martin and Ramsauer, Hubert and Unterthiner, Thomas and Nessler, Bernhard and Hochreiter, Sepp},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {30},
  year      = {2017}
}"""

SALIMANS_2016 = """\
@inproceedings{salimans2016improved,
  title     = {Improved Techniques for Training {GANs}},
  author    = {Salimans, Tim and Goodfellow, Ian and Zaremba, Wojciech and Cheung, Vicki and Radford, Alec and
               Chen, Xi},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {29},
  year      = {2016}
}"""

BINKOWSKI_2018 = """\
@inproceedings{binkowski2018demystifying,
  title     = {Demystifying {MMD} {GANs}},
  author    = {Bi{\\'n}kowski, Miko{\\l}aj and Sutherland, Danica J. and Arbel, Michael and Gretton, Arthur},
  booktitle = {International Conference on Learning Representations},
  year      = {2018}
}"""

KYNKAANNIEMI_2019 = """\
@inproceedings{kynkaanniemi2019improved,
  title     = {Improved Precision and Recall Metric for Assessing Generative Models},
  author    = {Kynk{\\"a}{\\"a}nniemi, Tuomas and Karras, Tero and Laine, Samuli and Lehtinen, Jaakko and Aila, Timo},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {32},
  year      = {2019}
}"""

NAEEM_2020 = """\
@inproceedings{naeem2020reliable,
  title     = {Reliable Fidelity and Diversity Metrics for Generative Models},
  author    = {Naeem, Muhammad Ferjad and Oh, Seong Joon and Uh, Youngjung and Choi, Yunjey and Yoo, Jaejun},
  booktitle = {International Conference on Machine Learning},
  year      = {2020}
}"""

BERTHET_2026 = """\
@misc{berthet2026mind,
  author        = {Berthet and others},
  note          = {{MIND}},
  year          = {2026},
  eprint        = {2605.06797},
  archivePrefix = {arXiv}
}"""

FRIEDMAN_2023 = """\
@article{friedman2023vendi,
  title   = {The {Vendi} Score: A Diversity Evaluation Metric for Machine Learning},
  author  = {Friedman, Dan and Dieng, Adji Bousso},
  journal = {Transactions on Machine Learning Research},
  year    = {2023}
}"""

JALALI_2023 = """\
@inproceedings{jalali2023information,
  title     = {An Information-Theoretic Evaluation of Generative Models in Learning Multi-modal Distributions},
  author    = {Jalali, Mohammad and Li, Cheuk Ting and Farnia, Farzan},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2023}
}"""

LOPEZ_PAZ_2017 = """\
@inproceedings{lopezpaz2017revisiting,
  title     = {Revisiting Classifier Two-Sample Tests},
  author    = {Lopez-Paz, David and Oquab, Maxime},
  booktitle = {International Conference on Learning Representations},
  year      = {2017}
}"""

KARRAS_2019 = """\
@inproceedings{karras2019style,
  title     = {A Style-Based Generator Architecture for Generative Adversarial Networks},
  author    = {Karras, Tero and Laine, Samuli and Aila, Timo},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2019}
}"""

NASH_2021 = """\
@inproceedings{nash2021generating,
  title     = {Generating Images with Sparse Representations},
  author    = {Nash, Charlie and Menick, Jacob and Dieleman, Sander and Battaglia, Peter},
  booktitle = {International Conference on Machine Learning},
  year      = {2021}
}"""

CHONG_2020 = """\
@inproceedings{chong2020effectively,
  title     = {Effectively Unbiased {FID} and {Inception} Score and Where to Find Them},
  author    = {Chong, Min Jin and Forsyth, David},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2020}
}"""

KHAYATKHOEI_2023 = """\
@inproceedings{khayatkhoei2023emergent,
  title     = {Emergent Asymmetry of Precision and Recall for Measuring Fidelity and Diversity of Generative Models in
               High Dimensions},
  author    = {Khayatkhoei, Mahyar and AbdAlmageed, Wael},
  booktitle = {International Conference on Machine Learning},
  year      = {2023}
}"""

SALVY_2025 = """\
@misc{salvy2025enhanced,
  title         = {Enhanced Generative Model Evaluation with Clipped Density and Coverage},
  author        = {Salvy, Nicolas and Talbot, Hugues and Thirion, Bertrand},
  year          = {2025},
  eprint        = {2507.01761},
  archivePrefix = {arXiv}
}"""

ALAA_2022 = """\
@inproceedings{alaa2022faithful,
  title     = {How Faithful is your Synthetic Data? {Sample}-level Metrics for Evaluating and Auditing Generative
               Models},
  author    = {Alaa, Ahmed and van Breugel, Boris and Saveliev, Evgeny S. and van der Schaar, Mihaela},
  booktitle = {International Conference on Machine Learning},
  year      = {2022}
}"""

MEEHAN_2020 = """\
@inproceedings{meehan2020nonparametric,
  title     = {A Non-Parametric Test to Detect Data-Copying in Generative Models},
  author    = {Meehan, Casey and Chaudhuri, Kamalika and Dasgupta, Sanjoy},
  booktitle = {International Conference on Artificial Intelligence and Statistics},
  year      = {2020}
}"""

ZHANG_2018 = """\
@inproceedings{zhang2018unreasonable,
  title     = {The Unreasonable Effectiveness of Deep Features as a Perceptual Metric},
  author    = {Zhang, Richard and Isola, Phillip and Efros, Alexei A. and Shechtman, Eli and Wang, Oliver},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2018}
}"""

JAYASUMANA_2024 = """\
@inproceedings{jayasumana2024rethinking,
  title     = {Rethinking {FID}: Towards a Better Evaluation Metric for Image Generation},
  author    = {Jayasumana, Sadeep and Ramalingam, Srikumar and Veit, Andreas and Glasner, Daniel and
               Chakrabarti, Ayan and Kumar, Sanjiv},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2024}
}"""

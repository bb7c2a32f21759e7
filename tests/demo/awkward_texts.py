"""Texts on which tokenizers written in other languages differ."""

AWKWARD = (
    "", "a", " ", "[SEP]", "[CLS] a [MASK] b", "x[SEP]y", "<s> a </s>", "a" * 100, "a" * 101, "\U0001f600" * 3,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family", "\U0001f1e9\U0001f1ea \U0001fae0 \U0001f6dd",
    "ΟΔΟΣ ΣΑΣ Σ", "İstanbul ıŞ", "ẞß STRASSE", "ﬁ ﬂ ﬀ ǅ K Å", "مرحبا بالعالم", "שלום עולם", "हिन्दी में", "ภาษาไทย",
    "한국어 텍스트", "日本語テキスト", "\U00020000\U00020001 rare", "\x00a\x01b\ufffd", "\u061c \u07fd \u0890 \u0897",
    "a\xa0b\u2003c\u3000d\u200be\ufefff\u2028g\x85h", "é e\u0301 a\u0300\u0301\u0302 Å", "don't -- <b>1,234.56</b>",
    "\t\n\r\n x \v y \f", "\u2026\u2014\u2013\u2018\u2019\u201c\u201d", "\ue000\ud7ff \U000e0001\U000e0041",
    "\U0001d407\U0001d41e\U0001d425\U0001d425\U0001d428",
    "①②³ ½ ٣ ৩", "\u0345\u03b1 \u1e9e", "𞤀𞤁 ꙮ", "word " * 40, "\u202eright-to-left\u202c", "ด้ ล൜ ൽf",
    "{{7*7}} ${x} %s \\n",
)  # fmt: skip

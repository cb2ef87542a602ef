import torch
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.loading import load


def test_x(build_bundle, demo_corpora, demo_texts, tmp_path):
    b = build_bundle(lively=True, documents=demo_corpora["demo_all"]["train"][:5], family="joint_ib")
    b.save(tmp_path / "new")
    m1, t1 = load(str(tmp_path / "new"))
    m2, t2 = load(str(tmp_path / "new"))
    sd, s1 = b.model.state_dict(), m1.state_dict()
    print("equal weights", all(torch.equal(sd[k], s1[k]) for k in sd), b.model.training, m1.training)
    texts = demo_texts[:4]
    r = [MentionPredictor(m, t)(texts) for m, t in ((b.model, b.tokenizer), (b.model, b.tokenizer), (m1, t1), (m2, t2))]
    for i in range(4):
        for j in range(i):
            d = [abs(x.score - y.score) for a, c in zip(r[i], r[j]) for x, y in zip(a, c)]
            print(i, j, [len(a) for a in r[i]] == [len(a) for a in r[j]], max(d))
    p = MentionPredictor(b.model, b.tokenizer)
    req = p.requests(texts)
    ids = {k: v for k, v in b.collator([x.features for x in req]).items()}
    with torch.no_grad():
        e = [
            m.encoder(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"]).last_hidden_state
            for m in (b.model, m1, m2)
        ]
        print("encoder", (e[0] - e[1]).abs().max(), (e[2] - e[1]).abs().max())
        l = [m(**ids).logits for m in (b.model, m1, m2)]
        print("logits", (l[0] - l[1]).abs().max(), (l[2] - l[1]).abs().max(), l[0].abs().max())
    for k in sd:
        print(k, sd[k].data_ptr() % 64, s1[k].data_ptr() % 64)

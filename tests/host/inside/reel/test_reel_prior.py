"""Reel Prior and Restore Reel: a whole reel through a MODEL, part by part, resumable, with what is patched in force."""

import comfy.model_management as management
import folder_paths
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, io
from comfy_execution.graph import DynamicPrompt
from inside.models import image_vae, tiny_control, tiny_pair
from inside.prior.controls.published import tiny_diffbir
from inside.sampling import SCALE, conditioning, random
from pack.nodes.host import prerestore as host_prerestore
from pack.nodes.host.models import FUSION
from pack.nodes.host.prerestore import prerestorer_model
from pack.nodes.host.prior import reel_prior as host_reel_prior
from pack.nodes.host.prior.model_key import graph_key, model_key
from pack.nodes.prior.restoration_guidance import RestorationGuidanceNode
from pack.nodes.prior.video_noise import VideoNoise
from pack.nodes.reel.reel_prior import ReelPriorNode
from pack.nodes.reel.restore_reel import RestoreReel
from pack.vldm_core.decode.fusion_decoder import KIND, FusionDecoder, FusionDecoderConfig
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.prerestore.network import KIND as NETWORK
from pack.vldm_core.prerestore.network import PreRestorer, PreRestorerConfig
from pack.vldm_core.video.info import FilmFrame, FilmInfo
from pack.vldm_core.video.reading.reader import open_film
from pack.vldm_core.video.writing.writer import WriteSettings, open_writer

COUNT, CUT, HEIGHT, WIDTH = 16, 9, 64, 80
# Of up to five frames, which share one: two of each shot.
PARTS = [(0, 5), (4, 9), (9, 13), (12, 16)]
GRAPH = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a street"}},
    "9": {"class_type": "VLDM_ReelPrior", "inputs": {"model": ["1", 0], "positive": ["2", 0], "vae": ["1", 2]}},
}
KNOBS = {i.id: i.default for i in ReelPriorNode.define_schema().inputs if getattr(i, "default", None) is not None} | {
    "steps": 1,
    "cfg": 1.0,
    "window": 4,
    "overlap": 1,
    "part": 5,
    "short_side": 64,
    "noise": "shared",
}
REPAIR = {
    "dirt": False,
    "average": False,
    "flicker": False,
    "scratches": False,
    "codec": "ffv1",
    "folder": "output",
    "quality": "fast",
}


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two shots of a moving scene."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    drawn = [random(1, 3, 16, 40, seed=seed) for seed in (1, 2)]
    scenes = [torch.nn.functional.interpolate(one, size=(HEIGHT, 160), mode="bicubic") for one in drawn]
    with open_writer(path, FilmInfo.of_frames(WIDTH, HEIGHT, 24), settings=WriteSettings(codec="ffv1")) as writer:
        for number in range(COUNT):
            scene = ((0.7 if number < CUT else 0.3) + 0.15 * scenes[number >= CUT][0]).clamp(0, 1)
            picture = (scene[:, :, number * 2 : number * 2 + WIDTH] * 255).round().byte().permute(1, 2, 0).numpy()
            writer.write(FilmFrame(index=number, image=np.ascontiguousarray(picture)))
    return str(path)


@pytest.fixture(scope="module")
def vae():
    return image_vae()


def prior(model, vae, *, graph=None, **changes):
    """Run Reel Prior as the host does."""
    prompt = DynamicPrompt(GRAPH if graph is None else graph)
    node = ReelPriorNode.PREPARE_CLASS_CLONE({io.Hidden.unique_id: "9", io.Hidden.dynprompt: prompt})
    inputs = {"positive": conditioning(), "negative": conditioning(seed=3), "vae": vae, **KNOBS, **changes}
    return node.execute(model, **inputs).result[0]


def restored(film, chosen, **changes):
    """Run Restore Reel; return the frames."""
    with torch.inference_mode():
        result = RestoreReel.execute(InputImpl.VideoFromFile(film), prior=chosen, **{**REPAIR, **changes}).result
    with open_film(result[0].get_stream_source()) as made:
        return np.stack([frame.image for frame in made])


@pytest.fixture
def sampled(monkeypatch):
    """Notes which parts are sampled."""
    noted = []
    real = host_reel_prior.HostPrior.__call__

    def noting(self, frames, **how):
        noted.append((how["first_frame"], how["first_frame"] + len(frames)))
        return real(self, frames, **how)

    monkeypatch.setattr(host_reel_prior.HostPrior, "__call__", noting)
    return noted


def test_a_reel_is_sampled_part_by_part_and_goes_on_after_an_interrupt(film, model, vae, sampled, monkeypatch):
    whole = restored(film, prior(model, vae))
    assert sampled == PARTS
    with open_film(film) as came:
        plain = np.stack([frame.image for frame in came])
    assert whole.shape == plain.shape and np.abs(whole.astype(int) - plain).mean() > 1, "the prior has done something"
    sampled.clear()
    real = host_reel_prior.restored_latents

    def interrupted(*arguments, **how):
        if len(sampled) == 2:
            management.interrupt_current_processing()
            management.throw_exception_if_processing_interrupted()
        return real(*arguments, **how)

    monkeypatch.setattr(host_reel_prior, "restored_latents", interrupted)
    with pytest.raises(management.InterruptProcessingException):
        restored(film, prior(model, vae))
    monkeypatch.setattr(host_reel_prior, "restored_latents", real)
    sampled.clear()
    # As after a restart: nothing is the same object, and another node has another number.
    again = {"7": GRAPH["1"], "8": {**GRAPH["2"], "inputs": {"clip": ["7", 1], "text": "a street"}}}
    again["9"] = {**GRAPH["9"], "inputs": {"model": ["7", 0], "positive": ["8", 0], "vae": ["7", 2]}}
    np.testing.assert_array_equal(restored(film, prior(tiny_pair()[0], image_vae(), graph=again)), whole)
    assert sampled == PARTS[1:], "the first part was kept"


def test_what_was_kept_is_taken_by_the_same_prior_only(film, model, vae, sampled):
    kept = {"keep_work": True}
    first = restored(film, prior(model, vae), **kept)
    sampled.clear()
    np.testing.assert_array_equal(restored(film, prior(model, vae), **kept), first)
    assert not sampled
    lora = model.clone()
    name = "diffusion_model.out.2.weight"
    lora.add_patches({name: ("diff", (random(*model.model.state_dict()[name].shape) * 0.2,))})
    other = restored(film, prior(lora, vae), **kept)
    assert sampled == PARTS and not np.array_equal(other, first), "a LoRA is in force and known"
    sampled.clear()
    # The patches of the run before may still be in the weights that all clones share.
    np.testing.assert_array_equal(restored(film, prior(model, vae), **kept), first)
    assert not sampled
    restored(film, prior(model, vae, seed=1), **kept)
    assert sampled == PARTS
    assert prior(model, vae).prior.key == prior(model, vae).prior.key
    others = {"positive": conditioning(seed=5), "control_strength": 0.5, "control_net": tiny_control()}
    keys = {prior(model, vae, **{name: other}).prior.key for name, other in others.items()}
    assert len(keys | {prior(model, vae).prior.key}) == 4


def test_a_control_net_looks_at_each_part(film, model, vae):
    net = tiny_control()
    free, held = (restored(film, prior(model, vae, control_net=one)) for one in (None, net))
    assert not np.array_equal(free, held)
    off = restored(film, prior(model, vae, control_net=net, control_strength=0.0))
    np.testing.assert_array_equal(off, free)


def test_the_key_of_a_model_goes_by_what_is_in_it(model):
    """It is the same for another object of the same weights, with patches loaded or not, and differs for others."""
    key = model_key(model)
    assert model_key(tiny_pair()[0]) == key != model_key(tiny_pair(seed=1)[0])
    lora, name = model.clone(), "diffusion_model.out.2.weight"
    change = random(*model.model.state_dict()[name].shape)
    lora.add_patches({name: ("diff", (change,))})
    patched = model_key(lora)
    management.load_models_gpu([lora])
    assert model_key(model) == key != patched == model_key(lora)
    weaker = model.clone()
    weaker.add_patches({name: ("diff", (change,))}, 0.5)
    assert model_key(weaker) not in (key, patched)


def test_the_key_of_a_graph_goes_by_what_leads_to_it():
    def key(graph):
        return graph_key(graph.__getitem__, [["2", 0], None, 0.5])

    assert key(GRAPH) == key({**GRAPH, "9": {"class_type": "Other", "inputs": {}}})
    other = {**GRAPH, "1": {**GRAPH["1"], "inputs": {"ckpt_name": "other.safetensors"}}}
    assert key(GRAPH) != key(other)


def test_what_belongs_to_one_clip_is_refused_before_any_work(model, vae):
    noise = VideoNoise.execute("shared", 0, 0.5, 16, 4, model=model).result[1]
    latent = {"samples": random(4, 4, 8, 8)}
    guided = RestorationGuidanceNode.execute(
        model, latent, scale=0.5, weighting="mse", space="latent", start=0.0, end=1.0, keep_undamaged=1.0,
        propagation=0.0,
    ).result[0]  # fmt: skip
    for patched, words in ((noise, "Video Noise"), (guided, "Restoration Guidance")):
        with pytest.raises(SettingsError, match=words):
            prior(patched, vae)
    with pytest.raises(SettingsError, match="positive has something for every frame"):
        prior(model, vae, positive=conditioning(frames=4))
    with pytest.raises(SettingsError, match="most_frames is 2"):
        prior(model, vae, part=2)


@pytest.fixture
def fusion(tmp_path):
    """A fusion in the host's folder, and a pre-restorer that goes with it."""
    torch.manual_seed(0)
    widths = (8, 8, 12)
    config = FusionDecoderConfig(source="latent", widths=widths, decoder_widths=(32, 32, 32), heads=2, window=4)
    made = FusionDecoder(config)
    for parameter in made.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape))
    KIND.save(made, tmp_path / "fusion.safetensors")
    network = PreRestorer(PreRestorerConfig(widths=widths, heads=2, window=4, latent=False)).eval()
    NETWORK.save(network, tmp_path / "network.safetensors")
    folder_paths.folder_names_and_paths[FUSION][0].insert(0, str(tmp_path))
    folder_paths.filename_list_cache.pop(FUSION, None)
    yield prerestorer_model(tmp_path / "network.safetensors")
    folder_paths.folder_names_and_paths[FUSION][0].remove(str(tmp_path))
    folder_paths.filename_list_cache.pop(FUSION, None)


def test_a_trained_fusion_gives_the_pictures(film, model, vae, fusion):
    # Shots in one part, so that they are pre-restored as without a prior.
    whole = {"part": COUNT, "colour": "off"}
    how = {"prerestorer": fusion, "prerestore": True, "keep_grain": 0.0}
    alone = restored(film, None, **how)
    none, fused = (
        restored(film, prior(model, vae, **whole, trained_fusion="fusion.safetensors", trained_fusion_weight=w), **how)
        for w in (0.0, 1.0)
    )
    assert np.abs(none.astype(int) - alone).max() <= 1, "at weight 0 the film stays as it was pre-restored"
    assert np.abs(fused.astype(int) - none).mean() > 0.5
    assert "no_such" in str(ReelPriorNode.validate_inputs(trained_fusion="no_such.safetensors"))
    assert ReelPriorNode.validate_inputs(trained_fusion="fusion.safetensors") is True


def test_sampling_begins_with_own_latents_and_controls_look_at_them(film, model, vae, fusion, tmp_path, monkeypatch):
    torch.manual_seed(0)
    network = PreRestorer(PreRestorerConfig(widths=(8, 8, 12), heads=2, window=4)).eval()
    NETWORK.save(network, tmp_path / "head.safetensors")
    how = {"prerestorer": prerestorer_model(tmp_path / "head.safetensors"), "prerestore": True, "keep_grain": 0.0}
    chosen = {"part": COUNT, "control": tiny_diffbir(tmp_path)}
    usual = restored(film, prior(model, vae, **chosen), **how)
    made, begun, looked = [], [], []

    def noting(noted, function, what):
        def called(*given, **named):
            result = function(*given, **named)
            noted.append(what(given, result))
            return result

        return called

    def no_encoder(*_):
        raise AssertionError("the VAE encodes")

    head = noting(made, host_prerestore.pre_restore_shots, lambda _, result: SCALE * result[1])
    monkeypatch.setattr(host_prerestore, "pre_restore_shots", head)
    for name, noted, what in (
        ("restored_latents", begun, lambda given, _: given[4].latent),
        ("with_control", looked, lambda given, _: given[2].hint),
    ):
        monkeypatch.setattr(host_reel_prior, name, noting(noted, getattr(host_reel_prior, name), what))
    monkeypatch.setattr(host_reel_prior, "latents_of", no_encoder)
    own = restored(film, prior(model, vae, **chosen, own_latents=True), **how)
    assert [len(each) for each in made] == [CUT, COUNT - CUT]
    for noted in (begun, looked):
        assert all(torch.allclose(seen, wanted, atol=1e-6) for seen, wanted in zip(noted, made, strict=True))
    assert np.abs(own.astype(int) - usual).mean() > 0.5
    with pytest.raises(SettingsError, match="no latents of its own"):
        restored(film, prior(model, vae, own_latents=True), **{**how, "prerestorer": fusion})

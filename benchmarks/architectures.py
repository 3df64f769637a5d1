"""Names of the architectures that `zoo.py` builds: timm's, and kinds of transformers' configurations."""

TIMM = """
beit_base_patch16_224 botnet26t_256 caformer_s18 cait_xxs24_224 coat_lite_tiny coat_tiny coatnet_0_rw_224
convformer_s18 convit_tiny convmixer_768_32 convnext_atto convnext_atto_ols convnext_atto_rms convnext_femto
convnext_femto_ols convnext_zepto_rms convnext_zepto_rms_ols convnextv2_atto convnextv2_femto cpubone_nano cpubone_t0
crossvit_9_240 crossvit_tiny_240 cs3darknet_focus_s cs3darknet_s cspnext_s cspnext_tiny cspresnet50 darknet53
davit_tiny deit_tiny_distilled_patch16_224 deit_tiny_patch16_224 densenet121 densenetblur121d dla34 dla46_c dla46x_c
dla60x_c dpn48b eca_halonext26ts edgenext_small edgenext_small_rw edgenext_x_small edgenext_xx_small
efficientformer_l1 efficientformerv2_s0 efficientformerv2_s1 efficientnet_b0 efficientnet_b0_g8_gn efficientnet_b0_gn
efficientnet_b1 efficientnet_b1_pruned efficientnet_blur_b0 efficientnet_em efficientnet_es efficientnet_es_pruned
efficientnet_lite0 efficientnet_lite1 efficientnet_lite2 efficientvim_m1 efficientvim_m1_dist efficientvit_b0
efficientvit_m0 efficientvit_m1 efficientvit_m2 efficientvit_m3 ese_vovnet19b_dw ese_vovnet19b_slim
ese_vovnet19b_slim_dw eva02_tiny_patch14_224 fasternet_t0 fasternet_t1 fastvit_t12 fastvit_t8 fbnetc_100
focalnet_tiny_srf gcvit_xxtiny gernet_s ghostnet_050 ghostnet_100 ghostnet_130 ghostnetv2_100 ghostnetv3_050
gmlp_s16_224 gmlp_ti16_224 halonet26t hardcorenas_a hardcorenas_b hardcorenas_c hardcorenas_d hgnetv2_b0 hgnetv2_b1
hiera_tiny_224 hrnet_w18_small iformer_s iformer_t inception_next_atto inception_resnet_v2 inception_v4
lambda_resnet26t lcnet_035 lcnet_050 lcnet_075 lcnet_100 lcnet_150 lcnetv2_base lcnetv2_small legacy_seresnet18
levit_128s levit_conv_128s mambaout_femto maxvit_pico_rw_256 maxvit_rmlp_pico_rw_256 mixer_s32_224 mixnet_l mixnet_m
mixnet_s mnasnet_050 mnasnet_075 mnasnet_100 mnasnet_140 mnasnet_small mobilenet_edgetpu_100 mobilenet_edgetpu_v2_s
mobilenet_edgetpu_v2_xs mobilenetv1_100 mobilenetv1_100h mobilenetv1_125 mobilenetv2_035 mobilenetv2_050
mobilenetv2_075 mobilenetv2_100 mobilenetv2_110d mobilenetv2_120d mobilenetv2_140 mobilenetv3_large_075
mobilenetv3_large_100 mobilenetv3_rw mobilenetv3_small_050 mobilenetv3_small_075 mobilenetv3_small_100
mobilenetv4_conv_small mobilenetv4_conv_small_035 mobilenetv4_conv_small_050 mobilenetv4_hybrid_medium_075
mobileone_s0 mobileone_s1 mobileone_s2 mobilevit_s mobilevit_xs mobilevit_xxs mobilevitv2_050 mobilevitv2_075
mobilevitv2_100 mobilevitv2_125 mvitv2_tiny nasnetalarge nest_tiny nextvit_small nf_resnet26 pit_ti_224
pit_ti_distilled_224 pnasnet5large poolformer_s12 pvt_v2_b0 rdnet_tiny regnetx_002 regnetx_004 regnetx_004_tv
regnetx_006 regnetx_008 regnety_002 regnety_004 regnety_006 regnety_008 regnety_008_tv regnetz_005 repghostnet_050
repghostnet_058 repghostnet_080 repghostnet_100 repghostnet_111 repghostnet_130 repghostnet_150 repvgg_a0 repvit_m0_9
repvit_m1 repvit_m1_0 res2net50_14w_8s resmlp_12_224 resnest14d resnet10t resnetv2_18 rexnet_100 rexnet_130
rexnetr_100 rexnetr_130 samvit_base_patch16 sebotnet33ts_256 selecsls42 semnasnet_050 semnasnet_075 semnasnet_100
semnasnet_140 sequencer2d_s shvit_s1 skresnet18 spnasnet_100 starnet_s050 starnet_s1 starnet_s100 starnet_s150
starnet_s2 starnet_s3 starnet_s4 swiftformer_s swiftformer_xs swin_tiny_patch4_window7_224 swinv2_cr_tiny_ns_224
swinv2_tiny_window8_256 test_byobnet test_coatnet test_convnext test_convnext2 test_convnext3 test_efficientnet
test_efficientnet_evos test_efficientnet_gn test_efficientnet_ln test_mambaout test_maxvit test_nfnet test_resnet
test_vit test_vit2 test_vit3 test_vit4 test_vit_relpos tf_efficientnet_b0 tf_efficientnet_b1 tf_efficientnet_em
tf_efficientnet_es tf_efficientnet_lite0 tf_efficientnet_lite1 tf_efficientnet_lite2 tf_efficientnetv2_b0 tf_mixnet_l
tf_mixnet_m tf_mixnet_s tf_mobilenetv3_large_075 tf_mobilenetv3_large_100 tf_mobilenetv3_large_minimal_100
tf_mobilenetv3_small_075 tf_mobilenetv3_small_100 tf_mobilenetv3_small_minimal_100 tiny_vit_5m_224 tinynet_a tinynet_b
tinynet_c tinynet_d tinynet_e tnt_s_legacy_patch16_224 tresnet_m twins_svt_small vgg11_bn visformer_tiny
vit_relpos_small_patch16_224 vit_tiny_patch16_224 vit_tiny_patch16_dinov3_qkvb vit_tiny_r_s16_p8_224 volo_d1_224
xception41 xcit_nano_12_p16_224 xcit_nano_12_p8_224 xcit_tiny_12_p16_224 xcit_tiny_12_p8_224
""".split()  # noqa: SIM905
"""One or more of every family, and all of timm 1.0.31 with fewer than 8 million parameters."""

TEXT = """
apertus arcee bert-generation big_bird biogpt bitnet bloom camembert canine cohere cohere2 convbert ctrl data2vec-text
deberta deberta-v2 diffllama doge electra ernie ernie4_5 esm exaone4 falcon falcon_mamba flaubert fnet gemma gemma2
gemma3_text glm glm4 gpt_bigcode gpt_neox gpt_neox_japanese granite granitemoe ibert jamba layoutlm lfm2 longformer
megatron-bert minimax mobilebert modernbert mpnet mpt mra nemotron nomic_bert nystromformer olmo olmo2 olmoe
openai-gpt opt persimmon phi phi3 phimoe qwen3 recurrent_gemma rembert roberta roberta-prelayernorm roformer rwkv
seed_oss smollm3 splinter stablelm starcoder2 tapas vaultgemma xglm xlm xlm-roberta yoso
""".split()  # noqa: SIM905
"""Encoders and decoders of text, as transformers names their configurations."""

IMAGES = """
beit cvt data2vec-vision deit dinov2_with_registers dinov3_vit dpt focalnet hgnet_v2 ijepa mobilenet_v1 mobilenet_v2
mobilevit poolformer resnet swiftformer textnet vit_mae vit_msn vitdet
""".split()  # noqa: SIM905

SOUND = """
data2vec-audio hubert sew sew-d unispeech unispeech-sat wav2vec2-conformer wavlm
""".split()  # noqa: SIM905

SEQUENCES = """
bart bigbird_pegasus blenderbot blenderbot-small fsmt led longt5 m2m_100 marian mbart mt5 mvp nllb-moe pegasus plbart
switch_transformers umt5
""".split()  # noqa: SIM905
"""Encoders of one sequence with a decoder of another."""

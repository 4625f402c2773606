"""What an instruction is about: one object of the picture, or something that it cannot tell.

Rules of thumb for English and Chinese, on the safe side: a text that might ask for another
scene, another style or a change of everything names no object here.
"""

from __future__ import annotations

import re
from typing import Final

#: What must stay is said in clauses of its own; they name what is *not* to change.
_CLAUSES: Final = re.compile(
    r"[,;.!?\n，。；！？、]|\b(?=(?:while|but|and)\s+(?:keep|leav|preserv))|\b(?=without\s+\w+ing\b)",
    re.IGNORECASE,
)
_KEPT: Final = re.compile(
    r"\b(?:keep|keeping|leave|leaving|preserve|preserving|unchanged)\b"
    r"|\b(?:stays?|remains?)\b|\b(?:do not|don't|without)\s+(?:chang|alter|touch|modify)"
    r"|不变|保持|保留|不要改|不要动|不改变|别动",
    re.IGNORECASE,
)
#: Whoever says one of these may mean the whole picture.
_WHOLE: Final = re.compile(
    r"\b(?:back\s?ground|backdrop|behind|around|scene|scenery|setting|surroundings?|environment"
    r"|room|indoors?|outdoors?|style|look like|in the style|mood|atmosphere|vintage|retro|theme"
    r"|light|lights|lighting|lit|shadows?|bright\w*|dark\w*|exposure|contrast|saturation|tones?"
    r"|palette|filter|gr[ae]yscale|black and white|monochrome|sepia|sky|sunset|snow|rain|fog"
    r"|winter|summer|spring|autumn|season|weather|night|day|daylight|morning|evening"
    r"|view|angle|perspective|camera|zoom|crop|rotate|flip|mirror|frame|border|close-?up"
    r"|pose|everything|everyone|all|whole|entire|every|picture|image|photo\w*|shot"
    r"|painting|drawing|sketch|cartoon|anime|illustration|poster|render\w*|watercolou?r|3d"
    r"|restore|enhance|sharpen|upscale|blur\w*|denoise|colori[sz]e)\b"
    r"|背景|底色|底图|色底|把底|换底|后面|身后|场景|环境|放在|放到|置于|摆在|室内|室外|户外"
    r"|风格|氛围|复古|主题"
    r"|光线|灯光|光照|打光|阴影|亮度|调亮|调暗|曝光|对比度|饱和度|色调|滤镜|黑白|天空|日落|雪|雨|雾"
    r"|季节|天气|夜|白天|早晨|黄昏|视角|角度|镜头|构图|放大|缩小|裁剪|旋转|翻转|边框|特写"
    r"|姿势|全部|所有|整个|整张|画面|图片|图像|照片|图[0-9一二三]|油画|素描|卡通|动漫|插画|海报|水彩"
    r"|修复|增强|锐化|模糊|上色",
    re.IGNORECASE,
)
#: A thing that is there, or is to come, with what shall happen to it.
_OBJECT: Final = re.compile(
    r"\b(?:replace|swap|change|turn|make|set|recolou?r|colou?r|paint|dye|convert|decorate|remove"
    r"|delete|erase|wipe|clean|drop|strip|take|rid of|switch|let|have)\b"
    r"(?:\s+off)?(?:\s+the\s+colou?r\s+of)?"
    r"\s+(?:the|this|that|his|her|its|their|my|our)\s+\w"
    r"|\b(?:add|put|place|print|draw|paint|stick|apply|include)\s+(?:an?|one)\s+\w"
    r"|\bgive\s+(?:the|this|that)\s+[\w-]+\s+an?\s"
    r"|\b(?:the|this)\s+(?:[\w-]+\s+){1,3}(?:should|must)\s+(?:be|have)\b"
    r"|(?:把|将|给|让|在).{1,12}?(?:换|改|变|染|涂|加|添|印|画|放|戴|穿|去|删|移|擦|清|弄|调|消)"
    r"|\S(?:换成|换为|改成|改为|改用|变成|变为|染成|涂成|弄成|调成|调整为)\S"
    r"|(?:去掉|去除|移除|删除|删掉|擦掉|擦除|清除|不要)\S"
    r"|(?:加|添加|加上|印|画|放)(?:上)?(?:一)?个",
    re.IGNORECASE,
)


def names_one_object(instruction: str) -> bool:
    """True where only a part of the picture may change, for certain."""
    clauses = [one for one in _CLAUSES.split(instruction) if one.strip()]
    asked = " ".join(one for one in clauses if not _KEPT.search(one))
    return bool(_OBJECT.search(asked)) and not _WHOLE.search(asked)

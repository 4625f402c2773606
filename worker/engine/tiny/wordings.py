"""Ways to say an edit, in English and Chinese; some are kept from training, to test with."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from worker.engine.tiny.states import EditKind


class Language(StrEnum):
    ENGLISH = "en"
    CHINESE = "zh"


#: Templates of a language, by kind of edit.
Templates = dict[Language, dict[EditKind, tuple[str, ...]]]


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


#: What is trained with.  The first of each is the plainest.
TEMPLATES: Final[Templates] = {
    Language.ENGLISH: {
        EditKind.BACKGROUND: _lines("""
            change the background to {colour}
            make the background {colour}
            replace the background with {colour}
            set the background to {colour}
            {colour} background
            put the {product} on a {colour} background
            turn the background {colour}
            use a plain {colour} background
            place it on a clean {colour} background
            the background should be {colour}
            swap the background for solid {colour}
            I want a {colour} background
            change the backdrop to {colour}
            background color: {colour}
            change the background color to {colour}
            make the backdrop {colour}
            set the {product} against a {colour} background
            give it a {colour} background
            show the {product} in front of a {colour} backdrop
            fill the background with {colour}
            I need the background in {colour}
            the {product} on plain {colour}
            replace whatever is behind the {product} with {colour}
            use {colour} for the background
            a {colour} backdrop
            background to {colour}
            paint the background {colour}
            remove the background and use {colour}
        """),
        EditKind.RECOLOUR: _lines("""
            make the {product} {colour}
            change the {product} to {colour}
            change the color of the {product} to {colour}
            recolor the {product} {colour}
            turn the {product} {colour}
            a {colour} {product}
            the {product} should be {colour}
            I want the {product} in {colour}
            dye the {product} {colour}
            paint the {product} {colour}
            show the {product} in {colour}
            {product} color: {colour}
            make it a {colour} {product}
            change the {product} color into {colour}
            recolor the {product} to {colour}
            make the color of the {product} {colour}
            give me the {product} in {colour}
            I need a {colour} {product}
            swap the {product} color for {colour}
            set the {product} to {colour}
            set the color of the {product} to {colour}
            use {colour} for the {product}
            color the {product} {colour}
            the same {product} but {colour}
            the same {product} in {colour}
            turn it into a {colour} {product}
            {product} in {colour}
            {product} to {colour}
        """),
        EditKind.REMOVE_LOGO: _lines("""
            remove the logo
            remove the {logo} logo
            delete the logo
            erase the logo from the {product}
            take the logo off the {product}
            get rid of the logo
            no logo
            remove the {logo} from the {product}
            make the {product} plain without any logo
            clean the logo off
            erase the print on the {product}
            remove the print
            delete the {logo} on the {product}
            take off the {logo}
            get rid of the {logo} on the {product}
            the {product} without the logo
            I want the {product} without a logo
            I do not want the logo
            a {product} with no logo
            wipe the {logo} off the {product}
            no print on the {product}
            the logo should be gone
            the {product} should have no logo
            erase the {logo} print
            leave the {product} blank
            remove the logo from the {product}
        """),
        EditKind.ADD_LOGO: _lines("""
            add a {logo_colour}{logo} logo
            add a {logo_colour}{logo}
            put a {logo_colour}{logo} logo on the {product}
            print a {logo_colour}{logo} on the {product}
            place a {logo_colour}{logo} logo on it
            draw a {logo_colour}{logo} on the {product}
            add a {logo_colour}{logo} print to the {product}
            I want a {logo_colour}{logo} logo on the {product}
            the {product} should have a {logo_colour}{logo} logo
            add a {logo_colour}{logo} logo to the {product}
            put a {logo_colour}{logo} on it
            give the {product} a {logo_colour}{logo} logo
            a {logo_colour}{logo} logo on the {product}
            a {product} with a {logo_colour}{logo} logo
            the {product} with a {logo_colour}{logo} on it
            decorate the {product} with a {logo_colour}{logo}
            I need a {logo_colour}{logo} on the {product}
            print a {logo_colour}{logo} logo
            paint a {logo_colour}{logo} on the {product}
            there should be a {logo_colour}{logo} on the {product}
            place a {logo_colour}{logo} print on the {product}
            show the {product} with a {logo_colour}{logo} logo
            logo: {logo_colour}{logo}
            include a {logo_colour}{logo} logo on the {product}
        """),
    },
    Language.CHINESE: {
        EditKind.BACKGROUND: _lines("""
            把背景换成{colour}
            将背景改为{colour}
            背景换成{colour}
            把背景变成{colour}
            换成{colour}背景
            {colour}背景
            请把背景改成{colour}
            背景设为{colour}
            背景颜色改成{colour}
            用{colour}做背景
            将背景替换为{colour}
            把背景颜色换成{colour}
            背景改成纯{colour}
            把{product}放在{colour}背景上
            给{product}换一个{colour}背景
            我想要{colour}的背景
            背景要{colour}
            背景用{colour}
            换一个{colour}的背景
            将背景设置成{colour}
            把背景涂成{colour}
            {product}后面换成{colour}
            背景变为{colour}
            使用{colour}背景
            请给{product}配{colour}背景
            背景颜色：{colour}
            去掉背景，换成{colour}
            让背景变成{colour}
        """),
        EditKind.RECOLOUR: _lines("""
            把{product}改成{colour}
            将{product}变成{colour}
            把{product}换成{colour}
            {product}改为{colour}
            把{product}的颜色改成{colour}
            请把{product}变为{colour}
            {product}颜色换成{colour}
            我要{colour}的{product}
            把{product}染成{colour}
            将{product}的颜色换成{colour}
            {product}换成{colour}
            {colour}的{product}
            让{product}变成{colour}
            把{product}涂成{colour}
            {product}要{colour}
            将{product}设为{colour}
            我想要{colour}{product}
            换成{colour}的{product}
            {product}的颜色：{colour}
            给{product}换成{colour}
            {product}颜色改为{colour}
            请将{product}改成{colour}
            同样的{product}，换成{colour}
            {product}用{colour}
            把颜色改成{colour}，{product}的颜色
            {product}变成{colour}
        """),
        EditKind.REMOVE_LOGO: _lines("""
            去掉标志
            去除标志
            把标志去掉
            删除{product}上的标志
            移除logo
            去掉{product}上的图案
            不要标志
            擦掉{logo}图案
            去掉logo
            把{logo}标志删除
            把{product}上的{logo}去掉
            删掉logo
            删除{logo}
            移除{product}上的{logo}图案
            请去除{product}的logo
            不要{product}上的图案
            {product}上不要有标志
            没有标志的{product}
            不带logo的{product}
            将{logo}标志擦除
            清除{product}上的标志
            把图案擦掉
            把logo删掉
            去除{product}上的{logo}图案
            请把{logo}去掉
            {product}不要logo
        """),
        EditKind.ADD_LOGO: _lines("""
            加一个{logo_colour}{logo}图案
            添加{logo_colour}{logo}标志
            在{product}上加一个{logo_colour}{logo}
            给{product}加上{logo_colour}{logo}图案
            在{product}上印一个{logo_colour}{logo}
            加个{logo_colour}{logo}logo
            在{product}上画一个{logo_colour}{logo}标志
            给{product}添加一个{logo_colour}{logo}
            在{product}上添加{logo_colour}{logo}图案
            加上{logo_colour}{logo}标志
            印上{logo_colour}{logo}
            把{logo_colour}{logo}印在{product}上
            {product}上要有{logo_colour}{logo}标志
            我要{product}上有{logo_colour}{logo}
            带{logo_colour}{logo}图案的{product}
            请在{product}上加{logo_colour}{logo}logo
            为{product}加{logo_colour}{logo}标志
            在{product}上放一个{logo_colour}{logo}图案
            {product}加{logo_colour}{logo}
            画一个{logo_colour}{logo}
            我想要一个{logo_colour}{logo}标志
            给{product}印{logo_colour}{logo}logo
            用{logo_colour}{logo}装饰{product}
            标志：{logo_colour}{logo}
        """),
    },
}

#: Never trained with.
UNSEEN_TEMPLATES: Final[Templates] = {
    Language.ENGLISH: {
        EditKind.BACKGROUND: _lines("""
            let the background become {colour}
            the {product} should stand before a {colour} background
            switch the backdrop over to {colour}
            I would like to see {colour} in the background
            background: solid {colour}
            convert the background into plain {colour}
        """),
        EditKind.RECOLOUR: _lines("""
            let the {product} become {colour}
            I would like this {product} in {colour}
            switch the {product} over to {colour}
            convert the color of the {product} into {colour}
            what would the {product} look like in {colour}
            have the {product} painted {colour}
        """),
        EditKind.REMOVE_LOGO: _lines("""
            the {product} should be without the {logo}
            please drop the logo
            make the logo go away
            I would like this {product} with no print
            strip the {logo} off
            have the logo erased
        """),
        EditKind.ADD_LOGO: _lines("""
            let the {product} have a {logo_colour}{logo} logo
            I would like to see a {logo_colour}{logo} on the {product}
            stick a {logo_colour}{logo} on the {product}
            have a {logo_colour}{logo} printed on the {product}
            this {product} needs a {logo_colour}{logo} logo
            apply a {logo_colour}{logo} logo to it
        """),
    },
    Language.CHINESE: {
        EditKind.BACKGROUND: _lines("""
            麻烦把背景弄成{colour}
            希望背景是{colour}的
            背景部分改用{colour}
            把{product}的背景调整为{colour}
            能不能用{colour}的背景
        """),
        EditKind.RECOLOUR: _lines("""
            麻烦把{product}弄成{colour}
            希望{product}是{colour}的
            {product}改用{colour}
            把{product}的颜色调整为{colour}
            能不能让{product}是{colour}
        """),
        EditKind.REMOVE_LOGO: _lines("""
            麻烦把标志弄掉
            希望{product}上没有{logo}
            {product}上的logo不需要了
            把{product}的图案消除
            能不能不要{logo}标志
        """),
        EditKind.ADD_LOGO: _lines("""
            麻烦弄一个{logo_colour}{logo}标志上去
            希望{product}上有一个{logo_colour}{logo}
            {product}需要{logo_colour}{logo}图案
            把{logo_colour}{logo}加到{product}上
            能不能给{product}来个{logo_colour}{logo}
        """),
    },
}
#: An empty one stands for each time that it is said without.
ENGLISH_OPENINGS: Final = ("",) * 5 + ("please ", "can you ", "could you please ", "now ")
ENGLISH_ENDINGS: Final = (
    *("",) * 6,
    *(".",) * 2,
    " please",
    ", keep everything else the same",
    ", keep the product unchanged",
    " for the product photo",
    ", do not change anything else",
)
CHINESE_ENDINGS: Final = (
    *("",) * 5,
    *("。",) * 2,
    "，其他保持不变",
    "，谢谢",
    "，不要改变其他部分",
)
#: What trained wordings are made of, beside the names of colours and things: the tokenizer
#: makes each of them one token.  Words of unseen wordings are left out: nothing would be
#: learnt of such a token.
CHINESE_WORDS: Final = words(
    "背景|颜色|标志|图案|换成|改为|改成|变成|变为|替换为|设为|设置成|涂成|染成|后面|放在|去掉|去除|"
    "删除|删掉|移除|清除|擦除|擦掉|不要|没有|不带|添加|加上|加一个|印上|装饰|一个|我想要|我要|要有|"
    "使用|同样的|其他|保持|不变|谢谢|改变|部分|上的|把|将|请|给|用|在|上|的|要|让|加|印|画|带|为|配|"
    "有|换|做|纯|个|，|。|："
)

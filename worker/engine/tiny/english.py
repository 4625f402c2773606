"""How an edit is worded in English."""

from __future__ import annotations

from typing import Final

from worker.engine.tiny.language import Speech, Templates, Words, lines, words
from worker.engine.tiny.outlines import Logo, Product
from worker.engine.tiny.states import EditKind


def _spaced(text: str) -> Words:
    return tuple(f"{line} " for line in lines(text))


_TEMPLATES: Final[Templates] = {
    EditKind.BACKGROUND: lines("""
        change the background to {colour}
        make the {ground} {colour}
        replace the {ground} with {colour}
        set the {ground} to {colour}
        {colour} {ground}
        put the {product} on a {colour} {ground}
        turn the {ground} {colour}
        use a plain {colour} {ground}
        place it on a clean {colour} {ground}
        the {ground} should be {colour}
        swap the {ground} for solid {colour}
        I want a {colour} {ground}
        change the {ground} to {colour}
        {ground} color: {colour}
        change the {ground} color to {colour}
        set the {product} against a {colour} {ground}
        give it a {colour} {ground}
        show the {product} in front of a {colour} {ground}
        fill the {ground} with {colour}
        I need the {ground} in {colour}
        the {product} on plain {colour}
        replace whatever is behind the {product} with {colour}
        use {colour} for the {ground}
        a {colour} {ground}
        {ground} to {colour}
        paint the {ground} {colour}
        remove the {ground} and use {colour}
        change the {ground} into {colour}
        {ground}: {colour}
        {ground} in {colour}
        a plain {colour} {ground}
        with a {colour} {ground}
        on a {colour} {ground}
        the {product} on a {colour} {ground}
        keep the {product} and make the {ground} {colour}
        only change the {ground}, to {colour}
        erase the {ground} and fill it with {colour}
        cut out the {product} and put it on {colour}
        isolate the {product} on {colour}
        make it a {colour} {ground}
        I want the {ground} to be {colour}
        I want {colour} behind the {product}
        everything behind the {product} should be {colour}
        make everything behind the {product} {colour}
        color the {ground} {colour}
        recolor the {ground} to {colour}
        try a {colour} {ground}
        the {ground} in {colour}
        replace the {ground} by {colour}
        place the {product} in front of {colour}
        new {ground}: {colour}
        make the area around the {product} {colour}
        I am looking for a {colour} {ground}
        go for a {colour} {ground}
        we want the {ground} {colour}
    """),
    EditKind.RECOLOUR: lines("""
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
        change the {product} into {colour}
        {product}: {colour}
        make the {product} look {colour}
        I want the {product} to be {colour}
        I want a {colour} {product}
        this {product} in {colour}
        make this {product} {colour}
        change this {product} to {colour}
        only change the {product}, to {colour}
        keep the {ground} and make the {product} {colour}
        try the {product} in {colour}
        go for a {colour} {product}
        replace the color of the {product} with {colour}
        replace the {product} with a {colour} one
        the {product} in {colour}
        new color of the {product}: {colour}
        tint the {product} {colour}
        give the {product} a {colour} color
        give the {product} the color {colour}
        cover the {product} in {colour}
        the color of the {product} should be {colour}
        we want the {product} {colour}
        a {colour} version of the {product}
        the {product}, but {colour}
        swap in a {colour} {product}
        fill the {product} with {colour}
    """),
    EditKind.REMOVE_LOGO: lines("""
        remove the logo
        remove the {logo} {mark}
        remove the {mark}
        delete the {mark}
        erase the {mark} from the {product}
        take the {mark} off the {product}
        get rid of the {mark}
        no {mark}
        remove the {logo} from the {product}
        make the {product} plain without any {mark}
        clean the {mark} off
        erase the {mark} on the {product}
        delete the {logo} on the {product}
        take off the {logo}
        get rid of the {logo} on the {product}
        the {product} without the {mark}
        I want the {product} without a {mark}
        I do not want the {mark}
        a {product} with no {mark}
        wipe the {logo} off the {product}
        no {mark} on the {product}
        the {mark} should be gone
        the {product} should have no {mark}
        erase the {logo} {mark}
        leave the {product} blank
        remove the {mark} from the {product}
        remove any {mark}
        {mark} off
        without {mark}
        without the {logo}
        the {product} without the {logo}
        no {logo}
        erase the {logo}
        delete the {mark} from the {product}
        take the {logo} off
        take the {logo} away
        get the {mark} off the {product}
        wipe off the {mark}
        wipe the {mark} away
        clean the {logo} off the {product}
        cut the {mark}
        clear the {mark} from the {product}
        clear away the {logo}
        I want the {mark} gone
        I want the {logo} removed
        I do not want the {logo} on the {product}
        I do not want a {mark} on the {product}
        make the {product} plain
        make the {product} blank, no {mark}
        a blank {product} without {mark}
        only remove the {mark}
        keep the {product} but remove the {logo}
        there should be no {mark} on the {product}
        there should be no {logo}
        paint over the {mark}
        retouch the {product} and remove the {mark}
        eliminate the {logo}
    """),
    EditKind.ADD_LOGO: lines("""
        add a {logo_colour}{logo} logo
        add a {logo_colour}{logo}
        put a {logo_colour}{logo} {mark} on the {product}
        print a {logo_colour}{logo} on the {product}
        place a {logo_colour}{logo} {mark} on it
        draw a {logo_colour}{logo} on the {product}
        add a {logo_colour}{logo} {mark} to the {product}
        I want a {logo_colour}{logo} {mark} on the {product}
        the {product} should have a {logo_colour}{logo} {mark}
        put a {logo_colour}{logo} on it
        give the {product} a {logo_colour}{logo} {mark}
        a {logo_colour}{logo} {mark} on the {product}
        a {product} with a {logo_colour}{logo} {mark}
        the {product} with a {logo_colour}{logo} on it
        decorate the {product} with a {logo_colour}{logo}
        I need a {logo_colour}{logo} on the {product}
        print a {logo_colour}{logo} {mark}
        paint a {logo_colour}{logo} on the {product}
        there should be a {logo_colour}{logo} on the {product}
        place a {logo_colour}{logo} {mark} on the {product}
        show the {product} with a {logo_colour}{logo} {mark}
        {mark}: {logo_colour}{logo}
        include a {logo_colour}{logo} {mark} on the {product}
        add one {logo_colour}{logo} to the {product}
        add a {logo_colour}{logo} {mark} on the {product}
        {logo_colour}{logo} {mark}
        {logo_colour}{logo} {mark} on the {product}
        {logo_colour}{logo} on the {product}
        put a {logo_colour}{logo} in the middle of the {product}
        put a {logo_colour}{logo} {mark} on the front of the {product}
        print a {logo_colour}{logo} {mark} on it
        draw a {logo_colour}{logo} {mark}
        the {product} with a {logo_colour}{logo} {mark}
        with a {logo_colour}{logo} on it
        I want a {logo_colour}{logo}
        I want the {product} with a {logo_colour}{logo} on it
        make a {logo_colour}{logo} on the {product}
        we want a {logo_colour}{logo} {mark} on the {product}
        brand the {product} with a {logo_colour}{logo}
        mark the {product} with a {logo_colour}{logo}
        insert a {logo_colour}{logo} {mark}
        set a {logo_colour}{logo} on the {product}
        a {logo_colour}{logo} in the middle of the {product}
        create a {logo_colour}{logo} {mark} on the {product}
        try a {logo_colour}{logo} on the {product}
        go for a {logo_colour}{logo} {mark}
        only add a {logo_colour}{logo}
        keep everything and add a {logo_colour}{logo}
    """),
}
_UNSEEN_TEMPLATES: Final[Templates] = {
    EditKind.BACKGROUND: lines("""
        let the background become {colour}
        the {product} should stand before a {colour} background
        switch the backdrop over to {colour}
        I would like to see {colour} in the background
        background: solid {colour}
        convert the background into plain {colour}
        how about {colour} behind the {product}
        the backdrop must become plain {colour}
        update the background so that it is {colour}
        could the background be {colour}
        my shop needs a {colour} background
        get me {colour} behind it
    """),
    EditKind.RECOLOUR: lines("""
        let the {product} become {colour}
        I would like this {product} in {colour}
        switch the {product} over to {colour}
        convert the color of the {product} into {colour}
        what would the {product} look like in {colour}
        have the {product} painted {colour}
        how about a {colour} {product}
        the {product} must become {colour}
        update the {product} so that it is {colour}
        could the {product} be {colour}
        my shop needs this {product} in {colour}
        render the {product} in {colour}
    """),
    EditKind.REMOVE_LOGO: lines("""
        the {product} should be without the {logo}
        please drop the logo
        make the logo go away
        I would like this {product} with no print
        strip the {logo} off
        have the logo erased
        how about no {logo} on the {product}
        update the {product} so that the logo is gone
        could the {logo} disappear
        scrub away the print
        the {product} must lose its logo
        hide the {logo}
    """),
    EditKind.ADD_LOGO: lines("""
        let the {product} have a {logo_colour}{logo} logo
        I would like to see a {logo_colour}{logo} on the {product}
        stick a {logo_colour}{logo} on the {product}
        have a {logo_colour}{logo} printed on the {product}
        this {product} needs a {logo_colour}{logo} logo
        apply a {logo_colour}{logo} logo to it
        how about a {logo_colour}{logo} on it
        update the {product} so that it has a {logo_colour}{logo}
        could the {product} carry a {logo_colour}{logo}
        my shop needs a {logo_colour}{logo} on this {product}
        stamp a {logo_colour}{logo} onto the {product}
        the {product} must get a {logo_colour}{logo}
    """),
}
ENGLISH: Final = Speech(
    templates=_TEMPLATES,
    unseen_templates=_UNSEEN_TEMPLATES,
    openings=(
        *("",) * 10,
        *_spaced("""
            hi,
            hello,
            now
            next,
            ok,
            in this picture,
            for this photo,
            for our shop:
            my request:
            quick edit:
            the client says:
        """),
    ),
    urgings=(
        *("",) * 10,
        *("please ",) * 3,
        *_spaced("""
            can you
            could you please
            please help me:
            just
            kindly
            you should
        """),
    ),
    verbs=words(
        "add|brand|change|clean|clear|color|cover|create|cut|decorate|delete|draw|dye|eliminate|"
        "erase|fill|get|give|go|include|insert|isolate|keep|leave|make|mark|only|paint|place|"
        "print|put|recolor|remove|replace|retouch|set|show|swap|take|tint|try|turn|use|wipe"
    ),
    endings=(
        *("",) * 9,
        *(".",) * 3,
        " please",
        ", keep everything else the same",
        ", keep the product unchanged",
        " for the product photo",
        ", do not change anything else",
        ", thanks",
        "!",
        " for me",
        " in this photo",
        ", nothing else",
        ", leave the rest as it is",
        " for the listing",
        ", it is for the catalog",
    ),
    grounds=(*("background",) * 4, "backdrop"),
    marks=(*("logo",) * 4, "print", "print", "graphic", "symbol", "design", "badge"),
    any_product=words("product|item|object|thing|article"),
    products={
        Product.TSHIRT: words("t-shirt|shirt|tee|T-shirt|top"),
        Product.MUG: words("mug|cup|coffee mug"),
        Product.BAG: words("bag|handbag|tote bag|tote"),
        Product.SHOE: words("shoe|sneaker|trainer"),
        Product.BOTTLE: words("bottle|water bottle|flask"),
        Product.BOX: words("box|package|carton"),
    },
    logos={
        Logo.STAR: words("star"),
        Logo.CIRCLE: words("circle|round"),
        Logo.STRIPE: words("stripe|striped"),
        Logo.HEART: words("heart"),
    },
)

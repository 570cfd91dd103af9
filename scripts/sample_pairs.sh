#!/usr/bin/env bash
# sample_pairs.sh - English-French sentence pairs of a small grammar, for a machine that cannot download real ones.
#
# Prints English TAB French, one pair a line, always the same lines in the same order, each once. The French agrees in
# gender and number (article, adjective) and in person (verb), so there is something to learn. It has about 150 words.
set -eu

# shellcheck disable=SC2016
grammar='
function add(english, french) { if (!seen[english "\t" french]++) print english "\t" french }

function starts_with_vowel(word) { return index("aeiouh\303", substr(word, 1, 1)) > 0 }
function definite(n) {
    return starts_with_vowel(french[n]) ? "l\047" french[n] : (gender[n] == "f" ? "la " : "le ") french[n]
}
function an(word) { return (index("aeiou", substr(word, 1, 1)) ? "an " : "a ") word }
function a(n) { return gender[n] == "f" ? "une " : "un " }
function this(n) { return gender[n] == "f" ? "cette " : starts_with_vowel(french[n]) ? "cet " : "ce " }
function spaced(words) { gsub(/_/, " ", words); return words }
function form(adjective, g) { return g == "f" ? feminine[adjective] : masculine[adjective] }
function plural(word) { return word ~ /[sx]$/ || word == "en retard" ? word : word (word ~ /eau$/ ? "x" : "s") }

$1 == "noun"   { noun[++nouns] = $2; french[nouns] = $3; gender[nouns] = $4 }
$1 == "before" || $1 == "after" { adjective[++adjectives] = $2; masculine[$2] = $3; feminine[$2] = $4; place[$2] = $1 }
$1 == "mood"   { mood[++moods] = $2; masculine[$2] = spaced($3); feminine[$2] = spaced($4) }
$1 == "person" { who[++persons] = $2; il[persons] = $3; be[persons] = $4; est[persons] = $5; ending[persons] = $6
                 number[persons] = $7; sex[persons] = $8 }
$1 == "verb"   { verb[++verbs] = spaced($2); third[verbs] = spaced($3); stem[verbs] = $4 }
$1 == "say"    { sub(/^say /, ""); split($0, side, / *= */); add(side[1], side[2]) }
$1 == "name"   { add("hello " $2 " .", "bonjour " $2 " ."); add("how are you " $2 " ?", "comment allez-vous " $2 " ?")
                 add("where is " $2 " ?", "où est " $2 " ?")
                 add("i do not know " $2 " .", "je ne connais pas " $2 " .") }

# Sentences about a thing, and about a thing with a quality.
function things(   n, j, w, phrase, it) {
    for (n = 1; n <= nouns; n++) {
        it = noun[n]
        add("where is the " it " ?", "où est " definite(n) " ?")
        add("i do not know where the " it " is .", "je ne sais pas où est " definite(n) " .")
        add("this is " an(it) " .", "c\047est " a(n) french[n] " .")
        add("i have " an(it) " .", "j\047ai " a(n) french[n] " .")
        add("do you have " an(it) " ?", "avez-vous " a(n) french[n] " ?")
        add("here is the " it " .", "voici " definite(n) " .")
        for (j = 1; j <= adjectives; j++) {
            w = adjective[j]
            phrase = place[w] == "before" ? form(w, gender[n]) " " french[n] : french[n] " " form(w, gender[n])
            add("this is " an(w) " " it " .", "c\047est " a(n) phrase " .")
            add("i have " an(w) " " it " .", "j\047ai " a(n) phrase " .")
            add("the " it " is " w " .", definite(n) " est " form(w, gender[n]) " .")
            add("this " it " is not " w " .", this(n) french[n] " n\047est pas " form(w, gender[n]) " .")
            add("the " it "s are " w " .", "les " plural(french[n]) " sont " plural(form(w, gender[n])) " .")
        }
    }
}

# Sentences about people, and about what they do with things.
function people(   p, m, v, n, word, he) {
    for (p = 1; p <= persons; p++) {
        for (m = 1; m <= moods; m++) {
            word = form(mood[m], sex[p])
            if (number[p] == "p") word = plural(word)
            add(who[p] " " be[p] " " mood[m] " .", il[p] " " est[p] " " word " .")
            add(who[p] " " be[p] " not " mood[m] " .",
                il[p] (starts_with_vowel(est[p]) ? " n\047" : " ne ") est[p] " pas " word " .")
        }
        he = est[p] == "est"
        for (v = 1; v <= verbs; v++)
            for (n = 1; n <= nouns; n++) {
                add(who[p] " " (he ? third[v] : verb[v]) " the " noun[n] " .",
                    il[p] " " stem[v] ending[p] " " definite(n) " .")
                if ((p + v + n) % 3 == 0)
                    add(who[p] " " (he ? "does" : "do") " not " verb[v] " the " noun[n] " .",
                        il[p] " ne " stem[v] ending[p] " pas " definite(n) " .")
            }
    }
}

END { things(); people() }
'

# The words: noun ENGLISH FRENCH GENDER; before/after (the noun) and mood ENGLISH MASCULINE FEMININE; person ENGLISH
# FRENCH BE ÊTRE ENDING NUMBER GENDER; verb ENGLISH THIRD-PERSON STEM; name NAME; say ENGLISH = FRENCH.
LC_ALL=C awk "$grammar" <<'WORDS'
say hello . = bonjour .
say how are you ? = comment allez-vous ?
say i do not know . = je ne sais pas .
say i know . = je sais .
say thank you . = merci .
say good night . = bonne nuit .
say see you tomorrow . = à demain .
say what time is it ? = quelle heure est-il ?
say i do not understand . = je ne comprends pas .
say do you understand ? = comprenez-vous ?
name tom
name mary
name peter
name anna
name paul
name julia
noun cat chat m
noun dog chien m
noun book livre m
noun train train m
noun garden jardin m
noun hat chapeau m
noun shop magasin m
noun bridge pont m
noun bag sac m
noun bed lit m
noun boat bateau m
noun tree arbre m
noun hotel hôtel m
noun bird oiseau m
noun station gare f
noun car voiture f
noun house maison f
noun table table f
noun door porte f
noun school école f
noun street rue f
noun town ville f
noun river rivière f
noun key clé f
noun letter lettre f
noun flower fleur f
noun room chambre f
noun window fenêtre f
noun picture image f
noun island île f
before small petit petite
before big grand grande
before pretty joli jolie
before bad mauvais mauvaise
after black noir noire
after white blanc blanche
after green vert verte
after red rouge rouge
after clean propre propre
after empty vide vide
after heavy lourd lourde
mood tired fatigué fatiguée
mood happy content contente
mood ready prêt prête
mood late en_retard en_retard
mood busy occupé occupée
mood alone seul seule
mood sick malade malade
mood rich riche riche
mood free libre libre
mood sure sûr sûre
person i je am suis e s m
person you vous are êtes ez p m
person he il is est e s m
person she elle is est e s f
person we nous are sommes ons p m
person they ils are sont ent p m
verb look_at looks_at regard
verb look_for looks_for cherch
verb draw draws dessin
verb find finds trouv
verb show shows montr
WORDS

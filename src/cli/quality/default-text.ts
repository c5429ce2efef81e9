/**
 * The text that `ingot bench quality` measures on unless another is named: written for it, in several tones, so that a
 * model meets description, dialogue, numbers, instructions and code. About 1,300 tokens.
 */

export const DEFAULT_TEXT = `The ferry to the northern islands leaves at twenty past six, before the fish market opens and long after the last bars have closed. On most mornings there are fewer than thirty people on board: nurses on their way to the small hospital, two or three teachers, a postman with a grey bag, and sometimes a family that has misread the timetable and expected a later boat. The crossing takes fifty minutes when the sea is calm and almost two hours when it is not. Nobody who travels often sits outside in winter, and nobody who travels for the first time sits inside.

The captain, a woman of about sixty, has made the journey more than eleven thousand times. She says that no two of them were alike. Once a whale followed the ship for the whole way, close enough that its breath wet the windows. Once the engine stopped in thick fog, and for an hour the only sound was a bell on a buoy that nobody could see. "You learn to wait," she told a visitor who asked what the work had taught her. "People think that it is about steering. It is about waiting, and about knowing when to stop waiting."

How does a refrigerator keep food cold? It does not make cold; it moves heat from the inside to the outside. A liquid with a low boiling point is led through thin pipes in the inner wall. There the pressure is low, so it boils, and boiling takes heat from the air around it. A compressor then squeezes the vapour, which makes it hot, and pushes it through the pipes on the back of the machine, where it gives its heat to the kitchen and becomes a liquid again. The cycle repeats many times an hour. This is why the back of a refrigerator is warm, and why leaving its door open cannot cool a room: the machine would give more heat to the room than it takes, because the compressor itself needs energy.

To make bread for four people you need 500 grams of flour, 325 grams of water, 10 grams of salt and 5 grams of dry yeast. Mix the flour with the water and let it rest for half an hour. Add the salt and the yeast and knead the dough for ten minutes, until it is smooth and no longer sticks to the table. Cover it and leave it in a warm place until it has doubled. Shape it into a loaf, let it rise again for forty minutes, and bake it at 230 degrees for about thirty-five minutes. It is done when it sounds hollow if you knock on it from below. Let it cool before you cut it, even though nobody ever does.

"Did you lock the door?" asked Martin.
"I thought that you did," said Ana.
They stood on the platform and looked at each other. The train was already in sight, a small light between the trees.
"If we go back now, we will miss the wedding."
"If we do not, we will think of nothing else."
"My neighbour has a key," said Martin after a while. "She could look."
"The one whose cat we locked in the cellar?"
"She has forgiven us. I think."
The train stopped, the doors opened, and for a moment neither of them moved.

In the year 1900 about one in seven people in the world lived in a town. By 1950 it was three in ten, and in 2007, for the first time, more than half. The change was not even. Some cities grew by a third in ten years, while others, which had lost the industry that made them, became smaller, and whole streets were given back to grass. Planners in both kinds of places face the same question from opposite sides: how many pipes, schools and bus lines does a city need, and who pays for those that are no longer used, or not yet?

function median(values) {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  if (sorted.length % 2 === 1) return sorted[middle];
  return (sorted[middle - 1] + sorted[middle]) / 2;
}

The function above first copies the values, because sorting changes an array in place and the caller may still need the old order. It then looks at the middle. With an odd number of values there is exactly one; with an even number there are two, and their mean is taken. An empty list has no median, and the function says so instead of inventing one.

Dear members of the choir, the rehearsal on Thursday will not be in the church, whose heating is being repaired, but in the hall of the primary school on Mill Road. Please come through the side entrance, because the main door is locked after five. We will begin with the second part of the mass, from bar 48, and then sing through the carols in the order of the booklet. Whoever cannot come should tell Ingrid by Wednesday noon. Bring a pencil, warm socks and, if you can, something for the table: last time we had nine cakes and not a single cup.

Light needs a little more than eight minutes from the sun to the earth, and about four years to the nearest other star. When we look at the sky we therefore see a picture that never existed at any one time. The planets appear as they were some minutes or hours ago; the stars as they were years, centuries or millennia ago. Some of them may have ended long since. The picture is not wrong, but it is made of many moments, and to read it one has to know how far away each point is, which for most of history nobody did.

The committee met three times. At the first meeting it could not agree on a chair, at the second it agreed on a chair who was not present, and at the third the chair, who had meanwhile read the documents, proposed that the committee be dissolved. The motion was carried with seven votes against two. A report was written nevertheless, because the budget contained a line for it. It is forty pages long and has an index.
`

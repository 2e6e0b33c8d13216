// The page starts: what is on top first.

const start = async () => {
  showSuites();
  await showLeaderboard();
  showTuning();
  showCurves();
  showTraining();
  showMasks();
  showSamples();
  showLeftOut();
  followHash();
  performance.mark("usable");
};
start().catch(failed);

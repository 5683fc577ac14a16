"""Simulated clips of household things: exact masks, true captions, any number of scenes.

Start at `scene.py` (`simulate_scene`, `simulate_training_scene`, `scene_info`). The rest answers
one question each: what surfaces are made of (`meshes`), how they look (`textures`, `labels`), what
an object is (`things`) and which there are (`objects`: `groceries`, `crockery`, `toys`), where it
plays (`rooms`), what happens (`actions`, `gripper`, `motion`), how the camera moves (`camera`), how
it becomes a MuJoCo model (`assembly`), how a frame is drawn (`render`), which seeds are kept from
training (`seeds`), how the bundled samples are made (`samples`). Nothing is downloaded: every mesh
and picture is made here.

Needs the extra `simulate` (MuJoCo) and, without a GPU, the system library libosmesa6.
"""
